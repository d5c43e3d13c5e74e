//! `tlscope interfaces`: what can be watched, and which right is missing for it.

use super::{exit::Exit, output::Output};
use std::{collections::BTreeMap, io::Write, net::IpAddr};
#[cfg(all(target_os = "linux", not(tlscope_portable)))]
use tlscope::capture::live::linux;

/// No arguments.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// What is known of an interface.
struct About {
    state: &'static str,
    loopback: bool,
    /// Another name of it, for people.
    description: Option<String>,
    addresses: Vec<IpAddr>,
}

/// Lists them.
pub(crate) fn run(_: &Args) -> anyhow::Result<Exit> {
    let found = list()?;
    let mut output = Output::stdout(false);
    let width = found.keys().map(String::len).max().unwrap_or(0).max(3);
    for (name, about) in &found {
        let addresses: Vec<String> = about.addresses.iter().map(ToString::to_string).collect();
        let mut line = format!("{name:width$}  {:7}  {}", about.state, addresses.join(", "));
        if let Some(words) = &about.description {
            line.push_str(&format!("  {words}"));
        }
        if about.loopback {
            line.push_str("  (loopback)");
        }
        writeln!(output, "{}", line.trim_end())?;
    }
    let exit = judge(&mut output, width)?;
    output.finish()?;
    Ok(exit)
}

#[cfg(all(target_os = "linux", not(tlscope_portable)))]
fn list() -> anyhow::Result<BTreeMap<String, About>> {
    use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
    let mut found: BTreeMap<String, About> = BTreeMap::new();
    for one in getifaddrs()? {
        let about = found.entry(one.interface_name).or_insert(About {
            state: match one.flags {
                flags if !flags.contains(InterfaceFlags::IFF_UP) => "down",
                flags if !flags.contains(InterfaceFlags::IFF_RUNNING) => "no link",
                _ => "up",
            },
            loopback: one.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            description: None,
            addresses: Vec::new(),
        });
        let address = one.address.as_ref();
        let v4 = address
            .and_then(|address| address.as_sockaddr_in())
            .map(|address| IpAddr::V4(address.ip()));
        let v6 = address
            .and_then(|address| address.as_sockaddr_in6())
            .map(|address| IpAddr::V6(address.ip()));
        about.addresses.extend(v4.or(v6));
    }
    Ok(found)
}

/// Says whether they can be watched.
#[cfg(all(target_os = "linux", not(tlscope_portable)))]
fn judge(output: &mut Output, width: usize) -> anyhow::Result<Exit> {
    writeln!(output, "{:width$}  all of them together", linux::ANY)?;
    writeln!(output)?;
    Ok(match linux::may_watch() {
        Ok(()) => {
            writeln!(output, "They can be watched: tlscope live -i NAME")?;
            Exit::Fine
        }
        Err(error) => {
            writeln!(
                output,
                "None of them can be watched: {error}.\n{}",
                advice()
            )?;
            Exit::Error
        }
    })
}

#[cfg(not(all(target_os = "linux", not(tlscope_portable))))]
fn list() -> anyhow::Result<BTreeMap<String, About>> {
    let known = tlscope::capture::live::libpcap::list()?.into_iter();
    let about = known.map(|one| {
        let about = About {
            state: match (one.up, one.connected) {
                (false, _) => "down",
                (true, false) => "no link",
                (true, true) => "up",
            },
            loopback: one.loopback,
            description: one.description,
            addresses: one.addresses,
        };
        (one.name, about)
    });
    Ok(about.collect())
}

/// Says how they can be watched: without the right to it libpcap lists none, or some.
#[cfg(not(all(target_os = "linux", not(tlscope_portable))))]
fn judge(output: &mut Output, _: usize) -> anyhow::Result<Exit> {
    writeln!(output, "\nWatch one by tlscope live -i NAME. {}", advice())?;
    Ok(Exit::Fine)
}

/// How to get the right to watch.
#[cfg(all(target_os = "linux", not(tlscope_portable)))]
pub(crate) fn advice() -> String {
    let path = std::env::current_exe()
        .map_or_else(|_| "tlscope".to_owned(), |path| path.display().to_string());
    format!(
        "Watching needs the capability CAP_NET_RAW. Grant it to the program once:\n    \
         sudo setcap cap_net_raw,cap_net_admin+ep {path}\n\
         or run it by sudo; it gives up all rights as soon as its sockets are open. In a container: --cap-add NET_RAW."
    )
}

/// How to get the right to watch.
#[cfg(not(all(target_os = "linux", not(tlscope_portable))))]
pub(crate) fn advice() -> String {
    let words = if cfg!(windows) {
        "Watching needs Npcap (npcap.com), and an administrator unless Npcap was installed for all users."
    } else if cfg!(target_os = "macos") {
        "Watching needs the right to read /dev/bpf*: run it by sudo, or install the ChmodBPF of Wireshark."
    } else {
        "Watching needs the right to capture: run it by sudo, or give your group the right to read /dev/bpf*."
    };
    words.to_owned()
}
