//! `tlscope interfaces`: what can be watched, and which right is missing for it.

use super::{exit::Exit, output::Output};
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use std::{collections::BTreeMap, io::Write, net::IpAddr};
use tlscope::capture::live::linux;

/// No arguments.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// What is known of an interface.
struct About {
    flags: InterfaceFlags,
    addresses: Vec<IpAddr>,
}

/// Lists them.
pub(crate) fn run(_: &Args) -> anyhow::Result<Exit> {
    let mut found: BTreeMap<String, About> = BTreeMap::new();
    for one in getifaddrs()? {
        let about = found.entry(one.interface_name).or_insert(About {
            flags: one.flags,
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
    let mut output = Output::stdout(false);
    let width = found.keys().map(String::len).max().unwrap_or(0).max(3);
    for (name, about) in &found {
        let state = match about.flags {
            flags if !flags.contains(InterfaceFlags::IFF_UP) => "down",
            flags if !flags.contains(InterfaceFlags::IFF_RUNNING) => "no link",
            _ => "up",
        };
        let addresses: Vec<String> = about.addresses.iter().map(ToString::to_string).collect();
        let mut line = format!("{name:width$}  {state:7}  {}", addresses.join(", "));
        if about.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            line.push_str("  (loopback)");
        }
        writeln!(output, "{}", line.trim_end())?;
    }
    writeln!(output, "{:width$}  all of them together", linux::ANY)?;
    writeln!(output)?;
    let exit = match linux::may_watch() {
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
    };
    output.finish()?;
    Ok(exit)
}

/// How to get the right to watch.
pub(crate) fn advice() -> String {
    let path = std::env::current_exe()
        .map_or_else(|_| "tlscope".to_owned(), |path| path.display().to_string());
    format!(
        "Watching needs the capability CAP_NET_RAW. Grant it to the program once:\n    \
         sudo setcap cap_net_raw,cap_net_admin+ep {path}\n\
         or run it by sudo; it gives up all rights as soon as its sockets are open. In a container: --cap-add NET_RAW."
    )
}
