//! The examples that close the long help: the cases for which people reach for this program.

/// Of `tlscope --help`.
pub(crate) const MAIN: &str = "\
Examples:
  Chrome says ERR_HTTP2_INADEQUATE_TRANSPORT_SECURITY, Internet Explorer is fine:
      start a capture on the server, load the page once, stop, then
          tlscope owa.pcapng

  Who still speaks TLS 1.0, before it is switched off? The table CLIENTS says it; as a list:
          tlscope week/ --format ndjson | jq -r 'select(.type == \"handshake\"
              and .server_hello.version == \"0x0301\") | .client.ip' | sort | uniq -c

  Do all servers of the farm answer alike? One capture of each, one table SERVERS:
          tlscope node1.pcapng node2.pcapng node3.pcapng

  Which protocol and certificate under TLS 1.3, and why did the browser close? With its keys
  (--help says at --keylog how to get them):
          tlscope --keylog keys.log capture.pcapng

  Straight from a capture on another machine:
          ssh gateway tcpdump -i any -s 0 -U -w - tcp | tlscope -

  A ring buffer of files that dumpcap or tcpdump is still writing, as it grows:
          tlscope --follow --format ndjson /var/captures/

  A folder of captures that have nothing to do with one another:
          tlscope --each captures/

  In a nightly job, told only of what is wrong:
          tlscope --quiet --fail-on warning today.pcapng || mail-the-team

Exit codes:
  0    all was read, and no finding is as bad as --fail-on
  1    there is a finding as bad as --fail-on, or worse
  2    a file could not be read to its end, or the output not be written;
       what was read is reported all the same
  130  stopped by Ctrl-C; the report holds what was seen until then";

/// Of `tlscope explain --help`.
pub(crate) const EXPLAIN: &str = "\
Examples:
  What it means, how sure it is, and what to do, with commands to copy:
          tlscope explain h2-blocklisted-cipher

  In Japanese:
          tlscope explain h2-blocklisted-cipher --lang ja

  All findings that there are:
          tlscope explain --list";

/// Of `tlscope schema --help`.
pub(crate) const SCHEMA: &str = "\
Example:
  Check saved output, or make types of it for another language:
          tlscope schema > tlscope.schema.json";

/// Of `tlscope diagnose --help`.
pub(crate) const DIAGNOSE: &str = "\
Examples:
  Capture on each node, carry only the records home, and diagnose them as one network:
          tlscope analyze --format ndjson -o node1.ndjson node1.pcapng
          tlscope diagnose node1.ndjson node2.ndjson node3.ndjson

  The same records under other thresholds, or with the farms and proxies named:
          tlscope diagnose --config tlscope.toml node*.ndjson";

/// Of `tlscope certs --help`.
pub(crate) const CERTS: &str = "\
Examples:
  Which certificates do the servers show, and until when?
          tlscope certs farm.pcapng

  Save each as a file, for certutil, openssl or the certificate viewer of Windows:
          tlscope certs farm.pcapng --pem certificates/";

/// Of `tlscope config --help`.
pub(crate) const CONFIG: &str = "\
Examples:
  Begin a configuration, name the farms and proxies in it, and use it:
          tlscope config --default > tlscope.toml
          tlscope config --check tlscope.toml
          tlscope --config tlscope.toml week/";

/// Of `tlscope live --help`.
#[cfg(any(
    feature = "libpcap",
    all(feature = "live", target_os = "linux", not(tlscope_portable))
))]
pub(crate) const LIVE: &str = "\
Examples:
  What is wrong right now, on this server?
          sudo tlscope live -i any

  A span port, for weeks: records to rotated files, metrics for Prometheus
          sudo tlscope live -i eth1 --promiscuous --threads 2 \\
              --output /var/log/tlscope/tlscope.ndjson --keep 50 --metrics 9184

  Whoever still speaks TLS 1.0, as it happens:
          sudo tlscope live -i eth0 | jq -r 'select(.server_hello.version == \"0x0301\") | .client.ip'

Lines: handshakes as in files. Findings come when they begin, become worse or ten times
larger, or end (`state`); those that stand are repeated at the end, without it.

Signals: SIGTERM and Ctrl-C end the watching with the report, SIGHUP opens the
files of --output and --write anew.";
