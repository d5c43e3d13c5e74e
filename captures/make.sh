#!/bin/bash
# Makes the captures of this folder: real clients and servers in network namespaces,
# joined by a veth pair, with documentation addresses.  Run as root on Debian 12.
#
#   ./make.sh               make every capture
#   ./make.sh NAME...       make only these (the file name without its ending)
#   ./make.sh check [NAME]  print what tshark sees in the captures that are here
#
# Same story each time, not the same bytes.  Keys and CAs live in a temporary
# folder and are gone at the end.  NO_APT=1 skips the installation.
set -euo pipefail

OUT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
C=tlsc-c-$$ S=tlsc-s-$$ M=tlsc-m-$$          # client, server, middle namespace
W=$(mktemp -d); chmod 755 "$W"
HOSTS=()                                      # namespaces of a field case's hosts
PIDS=() CAPPID="" FAILED=()
PY=/usr/bin/python3
export LC_ALL=C TZ=UTC
unset SSLKEYLOGFILE SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE \
  http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY

# The owa story's addresses
CLI1=192.0.2.10 CLI2=192.0.2.11 CLI3=192.0.2.12 CLI4=192.0.2.13
SRV=198.51.100.25 SRV2=198.51.100.26 SRV3=198.51.100.80 OFFICE=203.0.113.15
DROP=198.51.100.99                            # nobody is there
CLI6=2001:db8:1::10 SRV6=2001:db8:2::25

# ---------------------------------------------------------------- housekeeping

stop_servers() {
  local p
  for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null || true; done
  for p in "${PIDS[@]}"; do wait "$p" 2>/dev/null || true; done
  PIDS=()
}

down() {
  local n
  if [[ -n $CAPPID ]]; then kill "$CAPPID" 2>/dev/null || true; CAPPID=""; fi
  stop_servers
  for n in "$C" "$S" "$M" "${HOSTS[@]}"; do ip netns del "$n" 2>/dev/null || true; done
  HOSTS=()
  rm -rf /etc/netns/"$C"
}

trap 'down; rm -rf "$W"' EXIT
trap 'exit 130' INT TERM

install_tools() {
  [[ -z ${NO_APT:-} ]] || return 0
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1   # RUNLEVEL: start no service
  apt-get update -q
  apt-get install -y -q --no-install-recommends openssl nginx-light curl tcpdump \
    tshark iproute2 ethtool gnutls-bin python3 python3-pip haproxy squid dnsmasq-base
}

# ---------------------------------------------------------------- network

addrs() {   # addresses and default routes of both ends; $1: MTU
  local a
  for a in $CLI1 $CLI2 $CLI3 $CLI4; do ip -n "$C" addr add $a/32 dev eth0; done
  for a in $SRV $SRV2 $SRV3 $OFFICE; do ip -n "$S" addr add $a/32 dev eth0; done
  for a in "$C" "$S"; do
    ip -n "$a" link set lo up
    ip -n "$a" link set eth0 mtu "$1" up
    ip netns exec "$a" ethtool -K eth0 tx off rx off tso off gso off gro off >/dev/null 2>&1
  done
  ip -n "$C" route add default dev eth0 src $CLI1
  ip -n "$S" route add default dev eth0 src $SRV
  if (( $1 >= 1280 )); then
    ip -n "$C" -6 addr add $CLI6/128 dev eth0 nodad
    ip -n "$S" -6 addr add $SRV6/128 dev eth0 nodad
    ip -n "$C" -6 route add default dev eth0 src $CLI6
    ip -n "$S" -6 route add default dev eth0 src $SRV6
  fi
}

net() {     # client -- server; $1: MTU (1500)
  down
  ip netns add "$C"; ip netns add "$S"
  ip -n "$C" link add eth0 address 02:00:00:00:00:0a type veth \
    peer name eth0 netns "$S" address 02:00:00:00:00:19
  addrs "${1:-1500}"
}

net_middle() {  # client -- [box] == trunk == [box] -- server; $1: mode of the box, $2: MTU
  local d
  down
  ip netns add "$C"; ip netns add "$S"; ip netns add "$M"
  ip -n "$C" link add eth0 address 02:00:00:00:00:0a type veth peer name mc netns "$M"
  ip -n "$S" link add eth0 address 02:00:00:00:00:19 type veth peer name ms netns "$M"
  ip -n "$M" link add t0 type veth peer name t1
  ip netns exec "$M" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
  for d in mc ms t0 t1; do
    ip -n "$M" link set $d promisc on mtu "$2" up
    ip netns exec "$M" ethtool -K $d tx off rx off tso off gso off gro off >/dev/null 2>&1
  done
  addrs "$2"
  ip netns exec "$M" $PY "$W/tool.py" box "$1" & PIDS+=($!)
  sleep 0.5
}

lan() {     # hosts on one switch; each argument: name=address[,address]
  local h n a
  down
  ip netns add "$M"; ip -n "$M" link add br0 type bridge; ip -n "$M" link set br0 up
  for h; do
    n=$(host "${h%%=*}"); HOSTS+=("$n"); ip netns add "$n"
    ip -n "$n" link add eth0 type veth peer name "p-${h%%=*}" netns "$M"
    ip -n "$M" link set "p-${h%%=*}" master br0 up
    for a in $(tr , ' ' <<<"${h#*=}"); do ip -n "$n" addr add "$a/24" dev eth0; done
    ip -n "$n" link set lo up; ip -n "$n" link set eth0 up
    ip netns exec "$n" ethtool -K eth0 tx off rx off tso off gso off gro off >/dev/null 2>&1
  done
}
host() { echo "tlsc-$1-$$"; }

cap() {     # start capturing: $1 namespace, $2 interface, rest: filter
  local ns=$1 ifc=$2; shift 2
  rm -f "$W/raw.pcap"
  ip netns exec "$ns" tcpdump -Z root --immediate-mode -U -s 0 -n -i "$ifc" \
    -w "$W/raw.pcap" "$@" 2>"$W/tcpdump.log" & CAPPID=$!
  until grep -q listening "$W/tcpdump.log"; do kill -0 $CAPPID; sleep 0.05; done
}
start() { cap "$C" eth0 'tcp or udp'; }

keep() {    # stop capturing, write $1 (pcap or pcapng by its ending)
  sleep 0.5
  kill -INT "$CAPPID"; wait "$CAPPID" || true; CAPPID=""
  stop_servers
  case $1 in
    *.pcapng) editcap -F pcapng "$W/raw.pcap" "$W/raw.pcapng"
              # leave out the section header's hardware/OS/application strings
              $PY "$W/tool.py" bareshb "$W/raw.pcapng" "$OUT/$1" ;;
    *)        cp "$W/raw.pcap" "$OUT/$1" ;;
  esac
  chmod 644 "$OUT/$1"
}

# ---------------------------------------------------------------- servers and clients

server() {  # run in the server's namespace, in the background
  ( cd "$W/www"; exec ip netns exec "$S" "$@" <"$W/never" >"$W/server.log" 2>&1 ) & PIDS+=($!)
}
listening() {  # wait for a TCP port of the server
  local i
  for i in $(seq 100); do
    [[ -z $(ip netns exec "$S" ss -Hltn "sport = :$1") ]] || return 0
    sleep 0.05
  done
  echo "nobody listens on $1" >&2; cat "$W/server.log" >&2; return 1
}
cert() { echo "-cert $W/$1.pem -key $W/$1.key"; }
sserver() { # openssl s_server, serving files; $1: address:port
  local at=$1; shift
  server openssl s_server -quiet -WWW -accept "$at" "$@"; listening "${at##*:}"
}
www() { sserver $SRV:443 $(cert www) "$@"; }   # as www.contoso.com

ngx() {     # nginx with the server{} blocks on stdin; $1: name of its files
  local f=$W/${1:-nginx}
  { cat <<N
daemon off; master_process off; user root; pid $f.pid; error_log $W/error.log;
events { }
http {
  access_log off; server_tokens off; ssl_protocols TLSv1.2 TLSv1.3; default_type text/plain; root $W/www;
  client_body_temp_path $W/n1; proxy_temp_path $W/n2; fastcgi_temp_path $W/n3;
  uwsgi_temp_path $W/n4; scgi_temp_path $W/n5;
N
    cat; echo "}"; } >"$f.conf"
  server nginx -e "$W/error.log" -c "$f.conf"; listening 443
}
ngxcert() { echo "ssl_certificate $W/$1.pem; ssl_certificate_key $W/$1.key;"; }

client() { timeout 15 ip netns exec "$C" "$@" >"$W/client.log" 2>&1; }
# openssl s_client which asks for a page; $1: SNI ('' for none), rest: options.
# Its exit code is part of many stories, so it is not looked at: see check.
get() {
  local n=$1; shift
  printf 'GET /index.html HTTP/1.0\r\nHost: %s\r\n\r\n' "${n:-$SRV}" |
    client openssl s_client -ign_eof -connect $SRV:443 \
      $( [[ -n $n ]] && echo -servername $n || echo -noservername ) "$@" || true
}
web() {     # curl; $1: host, $2: its address, rest: options
  local n=$1 a=$2; shift 2
  client curl -sS --resolve "$n:443:$a" --cacert "$W/cas.pem" "$@" "https://$n/index.html" || true
}
old() { OPENSSL_CONF=$W/old.cnf "$@"; }   # with TLS 1.0 allowed

# ---------------------------------------------------------------- certificates, helpers

ca() {      # $1 file, $2 name
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -sha256 -subj "/O=Contoso/CN=$2" \
    -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$W/$1.key" -out "$W/$1.pem" 2>/dev/null
}
leaf() {    # $1 file, $2 CA, $3 key type (rsa:2048 or ec), rest: names (first is the CN)
  local f=$1 ca=$2 k=$3 cn=$4 san; shift 3
  san=$(printf ',DNS:%s' "$@")
  case $k in
    ec) openssl ecparam -genkey -name prime256v1 -noout -out "$W/$f.key" ;;
    *)  openssl genrsa -out "$W/$f.key" "${k#rsa:}" 2>/dev/null ;;
  esac
  openssl req -new -key "$W/$f.key" -subj "/CN=$cn" -out "$W/$f.csr"
  openssl x509 -req -in "$W/$f.csr" -CA "$W/$ca.pem" -CAkey "$W/$ca.key" -CAcreateserial \
    -days 730 -sha256 -out "$W/$f.pem" -extfile <(echo "subjectAltName=${san#,}
basicConstraints=CA:FALSE") 2>/dev/null
}

prepare() {
  mkdir -p "$W/www"; mkfifo "$W/never"; exec 9<>"$W/never"
  echo "Hello from the example server." >"$W/www/index.html"
  ca ca "Contoso Issuing CA"; ca pub "Example Public CA"
  cat "$W/ca.pem" "$W/pub.pem" >"$W/cas.pem"
  leaf mail ca rsa:2048 mail.contoso.com autodiscover.contoso.com
  leaf www ca rsa:2048 www.contoso.com
  leaf wwwec ca ec www.contoso.com
  leaf office pub rsa:2048 outlook.office365.com login.microsoftonline.com
  leaf mail2 ca rsa:2048 mail.contoso.com autodiscover.contoso.com
  ca fiddler DO_NOT_TRUST_FiddlerRoot; leaf login fiddler rsa:2048 login.microsoftonline.com
  leaf user ca rsa:2048 user1.contoso.com
  leaf biguser ca rsa:4096 user2.contoso.com
  cat >"$W/old.cnf" <<'N'
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = sys
[sys]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
Options = UnsafeLegacyRenegotiation
N
  # 1024 bits: Oakley group 2 (RFC 2409), generator 2
  openssl asn1parse -genconf <(cat <<'N'
asn1 = SEQUENCE:dh
[dh]
p = INTEGER:0xFFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF
g = INTEGER:2
N
  ) -noout -out "$W/dh1024.der"
  { echo "-----BEGIN DH PARAMETERS-----"; base64 -w 64 "$W/dh1024.der"
    echo "-----END DH PARAMETERS-----"; } >"$W/dh1024.pem"
  write_tool
}

write_tool() {
  cat >"$W/tool.py" <<'PYEND'
import asyncio, os, select, socket, ssl, struct, sys, threading, time

def listen(addr, port):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((addr, port)); s.listen(8); return s

def reset(c):   # close with a RST
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()

def pump(a, b):
    def one(x, y):
        try:
            while d := x.recv(65536): y.sendall(d)
        except OSError: pass
        try: y.shutdown(socket.SHUT_WR)
        except OSError: pass
    t = threading.Thread(target=one, args=(b, a)); t.start(); one(a, b); t.join(); a.close(); b.close()

def cmd_reset(addr, port):          # read the hello, reset
    s = listen(addr, int(port))
    while True:
        c, _ = s.accept(); c.recv(65536); time.sleep(0.02); reset(c)

def cmd_silent(addr, port):         # read the hello, never answer
    s = listen(addr, int(port))
    while True:
        c, _ = s.accept()
        while c.recv(65536): pass
        c.close()

def has_sni(h):
    p = 5 + 4 + 2 + 32; p += 1 + h[p]; p += 2 + int.from_bytes(h[p:p+2], 'big'); p += 1 + h[p]
    end = p + 2 + int.from_bytes(h[p:p+2], 'big'); p += 2
    while p < end:
        t, n = struct.unpack('!HH', h[p:p+4])
        if t == 0: return True
        p += 4 + n
    return False

def cmd_snirouter(addr, port, to, toport):   # resets hellos without a server name
    s = listen(addr, int(port))
    while True:
        c, _ = s.accept(); h = c.recv(65536)
        if not has_sni(h): reset(c); continue
        b = socket.create_connection((to, int(toport))); b.sendall(h)
        threading.Thread(target=pump, args=(c, b), daemon=True).start()

def cmd_smtp(addr, port, cert, key):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); ctx.load_cert_chain(cert, key)
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    s = listen(addr, int(port))
    while True:
        c, _ = s.accept(); tls = False
        c.sendall(b'220 mail.contoso.com ESMTP\r\n')
        try:
            buf = b''
            while d := c.recv(4096):
                buf += d
                while b'\n' in buf:
                    line, buf = buf.split(b'\n', 1); v = line.strip().upper()
                    if v.startswith(b'EHLO'):
                        c.sendall(b'250-mail.contoso.com\r\n' + (b'' if tls else b'250-STARTTLS\r\n') + b'250 8BITMIME\r\n')
                    elif v == b'STARTTLS':
                        c.sendall(b'220 2.0.0 Ready to start TLS\r\n'); c = ctx.wrap_socket(c, server_side=True); tls = True
                    elif v == b'QUIT':
                        c.sendall(b'221 2.0.0 Bye\r\n'); c = c.unwrap() if tls else c; c.close(); raise EOFError
                    else: c.sendall(b'250 2.0.0 Ok\r\n')
        except (OSError, EOFError, ValueError): pass

def cmd_proxy(addr, port, to):      # CONNECT, every name is at the address `to`
    s = listen(addr, int(port))
    while True:
        c, _ = s.accept(); h = b''
        while b'\r\n\r\n' not in h: h += c.recv(4096)
        target = h.split()[1].decode(); name, tport = target.rsplit(':', 1)
        try: b = socket.create_connection((to, int(tport)))
        except OSError: c.sendall(b'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n'); c.close(); continue
        c.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
        threading.Thread(target=pump, args=(c, b), daemon=True).start()

def cmd_h2strict(src, addr, name, ca):
    # does what RFC 9113 section 9.2.2 lets a client do: GOAWAY INADEQUATE_SECURITY
    ctx = ssl.create_default_context(cafile=ca); ctx.set_alpn_protocols(['h2', 'http/1.1'])
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2   # its secrets go to $SSLKEYLOGFILE, where that is set
    t = ctx.wrap_socket(socket.create_connection((addr, 443), source_address=(src, 0)), server_hostname=name)
    aead = any(x in t.cipher()[0] for x in ('GCM', 'CHACHA20'))
    frame = lambda ty, b: len(b).to_bytes(3, 'big') + bytes([ty, 0, 0, 0, 0, 0]) + b
    t.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(4, b''))
    t.sendall(frame(7, struct.pack('!II', 0, 0 if aead else 0xc)))
    t.settimeout(1)
    try:
        while t.recv(4096): pass
    except OSError: pass
    t.close()

def cmd_box(mode):
    # client side mc -> t0 == trunk == t1 -> ms server side, and back.
    # vlan: tag 110 on the trunk.  reorder: in each direction of a TCP connection the
    # first full segment with data lets the next one (1st connection) or two overtake it.
    def sock(i):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind((i, 3))
        return s
    L = {i: sock(i) for i in ('mc', 'ms', 't0', 't1')}
    to = {'mc': 't0', 't1': 'ms', 'ms': 't1', 't0': 'mc'}
    done, conns, held = set(), [], {}
    def flow(f):    # (key, payload length)
        if f[12:14] != b'\x08\x00' or f[23] != 6: return None, 0
        ihl = (f[14] & 15) * 4; t = 14 + ihl
        n = int.from_bytes(f[16:18], 'big') - ihl - (f[t + 12] >> 4) * 4
        return f[26:34] + f[t:t+4], n
    def release(k):
        f, out, _, _ = held.pop(k); out.send(f)
    while True:
        r, _, _ = select.select(list(L.values()), [], [], 0.01 if held else None)
        for k in [k for k, v in held.items() if time.time() > v[3]]: release(k)
        for i, s in L.items():
            if s not in r: continue
            f, a = s.recvfrom(65536)
            if a[2] == 4: continue          # our own
            out = L[to[i]]
            if mode == 'vlan' and i in ('mc', 'ms'):
                f = f[:12] + struct.pack('!HH', 0x8100, 110) + f[12:]   # the kernel takes it off again
            if mode == 'reorder' and i in ('mc', 'ms'):
                k, n = flow(f)
                if k in held and n > 0:
                    out.send(f); held[k][2] -= 1
                    if held[k][2] == 0: release(k)
                    continue
                if k and n > 500 and k not in done:
                    done.add(k); both = frozenset((k, k[4:8] + k[:4] + k[10:12] + k[8:10]))
                    if both not in conns: conns.append(both)
                    held[k] = [f, out, 1 + conns.index(both), time.time() + 0.1]
                    continue
            out.send(f)

def cmd_bareshb(src, dst):          # rewrite SHB and IDB without their string options
    d = open(src, 'rb').read(); o = b''; p = 0
    while p < len(d):
        t, n = struct.unpack('<II', d[p:p+8]); b = d[p+8:p+n-4]
        if t == 0x0A0D0D0A: b = b[:16]
        elif t == 1:
            q = 8; keep = b[:8]
            while q + 4 <= len(b):
                c, l = struct.unpack('<HH', b[q:q+4]); e = q + 4 + (l + 3) // 4 * 4
                if c == 9: keep += b[q:e]       # if_tsresol
                q = e
            b = keep + (b'\0\0\0\0' if len(keep) > 8 else b'')
        o += struct.pack('<II', t, len(b) + 12) + b + struct.pack('<I', len(b) + 12); p += n
    open(dst, 'wb').write(o)

def cmd_quicserver(addr, cert, key):
    from aioquic.asyncio import QuicConnectionProtocol, serve
    from aioquic.h3.connection import H3Connection, H3_ALPN
    from aioquic.h3.events import HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration
    class P(QuicConnectionProtocol):
        h3 = None
        def quic_event_received(self, e):
            self.h3 = self.h3 or H3Connection(self._quic)
            for h in self.h3.handle_event(e):
                if isinstance(h, HeadersReceived):
                    self.h3.send_headers(h.stream_id, [(b':status', b'200')])
                    self.h3.send_data(h.stream_id, b'Hello over HTTP/3.\n', True); self.transmit()
    async def main():
        c = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN); c.load_cert_chain(cert, key)
        await serve(addr, 443, configuration=c, create_protocol=P); await asyncio.Event().wait()
    asyncio.run(main())

def cmd_quicclient(addr, name, ca):
    from aioquic.asyncio import QuicConnectionProtocol, connect
    from aioquic.h3.connection import H3Connection, H3_ALPN
    from aioquic.h3.events import DataReceived
    from aioquic.quic.configuration import QuicConfiguration
    class P(QuicConnectionProtocol):
        h3 = None; done = None
        def quic_event_received(self, e):
            if self.h3:
                for h in self.h3.handle_event(e):
                    if isinstance(h, DataReceived) and h.stream_ended: self.done.set()
    async def main():
        c = QuicConfiguration(alpn_protocols=H3_ALPN, server_name=name); c.load_verify_locations(ca)
        log = os.environ.get('SSLKEYLOGFILE'); c.secrets_log_file = log and open(log, 'a')
        async with connect(addr, 443, configuration=c, create_protocol=P) as p:
            p.done = asyncio.Event(); p.h3 = H3Connection(p._quic); i = p._quic.get_next_available_stream_id()
            p.h3.send_headers(i, [(b':method', b'GET'), (b':scheme', b'https'), (b':authority', name.encode()), (b':path', b'/')], True)
            p.transmit(); await asyncio.wait_for(p.done.wait(), 5)
    asyncio.run(main())

def cmd_first(name, port, wait, ca=None):   # tries each address in DNS' order, as old programs do; then TLS
    for family, kind, proto, _, address in socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM):
        c = socket.socket(family, kind, proto); c.settimeout(float(wait))
        try: c.connect(address)
        except OSError: c.close(); continue
        t = ssl.create_default_context(cafile=ca).wrap_socket(c, server_hostname=name)
        t.sendall(b'GET / HTTP/1.0\r\n\r\n')
        while t.recv(4096): pass
        return

def cmd_mute(src, addr, port):      # opens, says nothing, closes
    c = socket.create_connection((addr, int(port)), source_address=(src, 0)); time.sleep(0.02); c.close()

def cmd_ntlm(version):              # an AUTHENTICATE message as [MS-NLMP] 2.2.1.3 draws it, with no secret in it
    import base64, os
    u = lambda text: text.encode('utf-16le')
    pair = lambda i, v: struct.pack('<HH', i, len(v)) + v
    lm, nt = os.urandom(24), os.urandom(24)
    if version == 'v2':             # with zero channel bindings
        pairs = pair(2, u('CONTOSO')) + pair(10, bytes(16)) + pair(0, b'')
        nt = os.urandom(16) + b'\x01\x01' + bytes(26) + pairs
    parts = [lm, nt, u('CONTOSO'), u('user1'), u('PC1'), b'']
    at, head = 88, b'NTLMSSP\0' + struct.pack('<I', 3)
    for part in parts: head += struct.pack('<HHI', len(part), len(part), at); at += len(part)
    head += struct.pack('<I', 0xa2888205) + bytes(8) + bytes(16)
    print(base64.b64encode(head + b''.join(parts)).decode())

globals()['cmd_' + sys.argv[1]](*sys.argv[2:])
PYEND
}

# ---------------------------------------------------------------- the captures

make_owa_http2_blocklisted() {
  net
  ngx <<N
server { listen $SRV:443 ssl http2; server_name mail.contoso.com autodiscover.contoso.com;
  $(ngxcert mail) ssl_protocols TLSv1.2; ssl_prefer_server_ciphers on;
  ssl_ciphers ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256; }
server { listen $SRV2:443 ssl http2; server_name autodiscover.contoso.com mail.contoso.com;
  $(ngxcert mail) ssl_protocols TLSv1.2; ssl_prefer_server_ciphers on;
  ssl_ciphers ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-SHA; }
N
  old sserver $OFFICE:443 $(cert office)
  start
  web mail.contoso.com $SRV --http2 --interface $CLI1
  # a browser-like client: handshake, then nothing but the close
  client openssl s_client -bind $CLI2:0 -connect $SRV:443 -servername mail.contoso.com \
    -alpn h2,http/1.1 </dev/null
  client $PY "$W/tool.py" h2strict $CLI3 $SRV mail.contoso.com "$W/cas.pem"
  web autodiscover.contoso.com $SRV2 --http2 --interface $CLI1
  client $PY "$W/tool.py" h2strict $CLI3 $SRV2 autodiscover.contoso.com "$W/cas.pem"
  old web outlook.office365.com $OFFICE --tlsv1.0 --tls-max 1.0 --no-alpn --interface $CLI4
  old web outlook.office365.com $OFFICE --tlsv1.0 --tls-max 1.0 --no-alpn --interface $CLI4
  web mail.contoso.com $SRV --http1.1 --interface $CLI2
  keep owa-http2-blocklisted.pcapng
}

h2_server() {   # $1: more directives
  ngx <<N
server { listen $SRV:443 ssl http2; server_name www.contoso.com; $(ngxcert www)
  ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on;
  ssl_ciphers ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256; ${1:-} }
N
}

make_h2_healthy() {
  net; h2_server; start
  web www.contoso.com $SRV --http2 --tls-max 1.2
  web www.contoso.com $SRV --http2
  keep h2-healthy.pcapng
}

make_tls10() {
  net; old www -tls1; start
  old get www.contoso.com -tls1
  client gnutls-cli --no-ca-verification --sni-hostname=www.contoso.com -p 443 \
    --priority='NORMAL:-VERS-ALL:+VERS-TLS1.0' $SRV </dev/null || true
  keep tls10.pcap
}
make_tls11() {
  net; old www -tls1_1; start
  old get www.contoso.com -tls1_1
  old web www.contoso.com $SRV --tlsv1.1 --tls-max 1.1
  keep tls11.pcap
}
make_tls12() {
  net; www; start
  get www.contoso.com -tls1_2
  client gnutls-cli --no-ca-verification --sni-hostname=www.contoso.com -p 443 \
    --priority='NORMAL:-VERS-ALL:+VERS-TLS1.2' $SRV </dev/null || true
  keep tls12.pcap
}
make_tls13() {
  net; www; start
  get www.contoso.com -tls1_3
  client gnutls-cli --no-ca-verification --sni-hostname=www.contoso.com -p 443 \
    --priority='NORMAL:-VERS-ALL:+VERS-TLS1.3' $SRV </dev/null || true
  keep tls13.pcap
}

make_sni_missing() {
  net
  ngx <<N
server { listen $SRV:443 ssl default_server; ssl_reject_handshake on; }
server { listen $SRV:443 ssl; listen $SRV3:8443 ssl; server_name www.contoso.com; $(ngxcert www) }
N
  server $PY "$W/tool.py" snirouter $SRV3 443 $SRV3 8443; sleep 0.3
  start
  get '' -tls1_2
  get '' -tls1_3
  get www.contoso.com -tls1_2
  get '' -tls1_2 -connect $SRV3:443
  get www.contoso.com -tls1_2 -connect $SRV3:443
  keep sni-missing.pcap
}

make_name_mismatch() {
  net; www -tls1_2; start
  web mail.contoso.com $SRV --tls-max 1.2 -k
  web mail.contoso.com $SRV --tls-max 1.2
  get mail.contoso.com -tls1_2 -CAfile "$W/cas.pem" -verify_hostname mail.contoso.com -verify_return_error
  keep name-mismatch.pcap
}

make_no_common_suite() {
  net
  www -tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384
  sserver $SRV2:443 $(cert wwwec) -tls1_2
  start
  get www.contoso.com -tls1_2 -cipher AES128-SHA:AES256-SHA
  get www.contoso.com -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256 -connect $SRV2:443
  keep no-common-suite.pcap
}
make_no_common_version() {
  net; www -tls1_2; start
  old get www.contoso.com -tls1
  get www.contoso.com -tls1_3
  keep no-common-version.pcap
}

make_hello_reset() {
  net; server $PY "$W/tool.py" reset $SRV 443; listening 443; start
  get www.contoso.com -tls1_2
  get www.contoso.com
  keep hello-reset.pcap
}
make_hello_unanswered() {
  net; server $PY "$W/tool.py" silent $SRV 443; listening 443; start
  web www.contoso.com $SRV -m 6
  keep hello-unanswered.pcap
}
make_syn_unanswered() {
  net; ip -n "$C" neigh add $DROP lladdr 02:00:00:00:00:63 dev eth0; start
  web www.contoso.com $DROP --connect-timeout 8
  keep syn-unanswered.pcap
}
make_connection_refused() {
  net; start
  web www.contoso.com $SRV
  web www.contoso.com "[$SRV6]"
  keep connection-refused.pcap
}

make_resumption() {
  net; www; sserver $SRV2:443 $(cert www) -tls1_2 -no_ticket
  start
  get www.contoso.com -tls1_2 -sess_out "$W/s1"
  get www.contoso.com -tls1_2 -sess_in "$W/s1"
  get www.contoso.com -tls1_2 -connect $SRV2:443 -sess_out "$W/s2"
  get www.contoso.com -tls1_2 -connect $SRV2:443 -sess_in "$W/s2"
  get www.contoso.com -tls1_3 -sess_out "$W/s3"
  get www.contoso.com -tls1_3 -sess_in "$W/s3"
  keep resumption.pcap
}
make_hello_retry_request() {
  net; www -tls1_3 -groups P-384; start
  get www.contoso.com -tls1_3 -groups X25519:P-384
  keep hello-retry-request.pcap
}

protos() {  # an ALPN list of $1 made-up names
  local i l=h2,http/1.1
  for i in $(seq "$1"); do l+=,x-example-protocol-$(printf %03d "$i"); done
  echo "$l"
}
make_hello_two_segments() {
  net 600; www; start
  get www.contoso.com -tls1_2 -alpn "$(protos 20)"
  keep hello-two-segments.pcap; mv "$OUT/hello-two-segments.pcap" "$W/first.pcap"
  # at MTU 1500: a TLS 1.3 ticket which holds a client certificate of 4096 bits
  net; sserver $SRV2:443 $(cert www) -tls1_3 -Verify 1 -CAfile "$W/ca.pem"; start
  get www.contoso.com -connect $SRV2:443 $(cert biguser) -sess_out "$W/s4"
  get www.contoso.com -connect $SRV2:443 $(cert biguser) -sess_in "$W/s4" -alpn h2,http/1.1
  keep hello-two-segments.pcap; mv "$OUT/hello-two-segments.pcap" "$W/second.pcap"
  mergecap -F pcap -w "$OUT/hello-two-segments.pcap" "$W/first.pcap" "$W/second.pcap"
  chmod 644 "$OUT/hello-two-segments.pcap"
}
make_out_of_order() {
  net_middle reorder 600
  www; cap "$M" t0 tcp
  get www.contoso.com -tls1_2 -alpn "$(protos 20)"
  get www.contoso.com -tls1_2 -alpn "$(protos 50)"
  keep out-of-order.pcap
}
make_ipv6() {
  net; sserver "[$SRV6]:443" $(cert www); start
  get www.contoso.com -tls1_2 -connect "[$SRV6]:443"
  get www.contoso.com -tls1_3 -connect "[$SRV6]:443"
  keep ipv6.pcap
}
make_vlan() {
  net_middle vlan 1500
  www; cap "$M" t0
  get www.contoso.com -tls1_2
  keep vlan.pcap
  tshark -r "$OUT/vlan.pcap" -Y tcp -F pcap -w "$W/v.pcap" 2>/dev/null; cp "$W/v.pcap" "$OUT/vlan.pcap"
}

make_mutual_tls() {
  net
  ngx <<N
server { listen $SRV:443 ssl; server_name www.contoso.com; $(ngxcert www) ssl_protocols TLSv1.2;
  ssl_client_certificate $W/ca.pem; ssl_verify_client on; }
N
  start
  web www.contoso.com $SRV --cert "$W/user.pem" --key "$W/user.key"
  web www.contoso.com $SRV
  keep mutual-tls.pcap
}
make_client_rejects_cert() {
  net; www; start
  web www.contoso.com $SRV --tls-max 1.2 --cacert "$W/pub.pem"
  web www.contoso.com $SRV --tlsv1.3 --cacert "$W/pub.pem"
  client gnutls-cli --x509cafile="$W/pub.pem" --sni-hostname=www.contoso.com \
    --verify-hostname=www.contoso.com -p 443 \
    --priority='NORMAL:-VERS-ALL:+VERS-TLS1.3' $SRV </dev/null || true
  keep client-rejects-cert.pcap
}
make_renegotiation() {
  net; www -tls1_2 -client_renegotiation; start
  # no -ign_eof here: with it, s_client takes no R command
  { sleep 0.5; echo R; sleep 0.5; printf 'GET /index.html HTTP/1.0\r\n\r\n'; sleep 0.5; } |
    client openssl s_client -tls1_2 -connect $SRV:443 -servername www.contoso.com || true
  keep renegotiation.pcap
}
make_dhe_1024() {
  net; www -tls1_2 -dhparam "$W/dh1024.pem" -cipher 'DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0'; start
  get www.contoso.com -tls1_2 -cipher 'DHE-RSA-AES256-GCM-SHA384:@SECLEVEL=0'
  keep dhe-1024.pcap
}
make_rsa_key_exchange() {
  net; www -tls1_2 -cipher AES128-SHA; start
  get www.contoso.com -tls1_2
  keep rsa-key-exchange.pcap
}
make_ecdsa() {
  net; sserver $SRV:443 $(cert wwwec); start
  get www.contoso.com -tls1_2
  get www.contoso.com -tls1_3
  keep ecdsa.pcap
}
make_starttls_smtp() {
  net; server $PY "$W/tool.py" smtp $SRV 25 "$W/mail.pem" "$W/mail.key"; listening 25; start
  { sleep 0.5; printf 'ehlo client.example\r\n'; sleep 0.3; printf 'quit\r\n'; sleep 0.3; } |
    client openssl s_client -starttls smtp -name client.example -ign_eof -connect $SRV:25 \
      -servername mail.contoso.com || true
  keep starttls-smtp.pcap
}
make_http_connect() {
  net; h2_server; server $PY "$W/tool.py" proxy $SRV3 3128 $SRV; listening 3128; start
  client curl -sS -x http://$SRV3:3128 --cacert "$W/cas.pem" --http2 --tls-max 1.2 https://www.contoso.com/index.html || true
  client curl -sS -x http://$SRV3:3128 --cacert "$W/cas.pem" --http2 https://www.contoso.com/index.html || true
  keep http-connect.pcap
}
quiclib() { # $1: what needs it
  [[ -n ${QUICLIB:-} ]] || { QUICLIB=$W/quiclib
    $PY -m pip install -q --root-user-action=ignore --only-binary=:all: --target "$QUICLIB" \
      aioquic==1.7.2 || { FAILED+=("$1: aioquic could not be installed"); QUICLIB=""; return 1; }; }
  export PYTHONPATH=$QUICLIB
}
make_quic() {
  quiclib quic || return 0
  net; server $PY "$W/tool.py" quicserver $SRV "$W/www.pem" "$W/www.key"; sleep 1.5; start
  client $PY "$W/tool.py" quicclient $SRV www.contoso.com "$W/cas.pem"
  unset PYTHONPATH
  keep quic.pcapng
}
make_dtls12() {
  net; server openssl s_server -quiet -dtls1_2 -listen -accept $SRV:4433 $(cert www); sleep 0.5; start
  { sleep 0.5; echo "hello over DTLS"; sleep 0.3; } |
    client openssl s_client -dtls1_2 -connect $SRV:4433 -servername www.contoso.com || true
  keep dtls12.pcap
}
make_with_keys() {
  net; h2_server; rm -f "$W/keys"; start
  export SSLKEYLOGFILE=$W/keys
  web www.contoso.com $SRV --http2 --tls-max 1.2
  web www.contoso.com $SRV --http2
  unset SSLKEYLOGFILE
  keep with-keys.pcapng
  grep -E '^[A-Z_0-9]+ [0-9a-f]+ [0-9a-f]+$' "$W/keys" | sort -u >"$OUT/with-keys.keys"
  editcap --inject-secrets "tls,$OUT/with-keys.keys" "$OUT/with-keys.pcapng" "$W/emb.pcapng"
  $PY "$W/tool.py" bareshb "$W/emb.pcapng" "$OUT/with-keys-embedded.pcapng"
  chmod 644 "$OUT"/with-keys*
}

keep_with_keys() {  # as keep, with the secrets of $W/keys in front of the packets; $1: NAME.pcapng
  keep "$1"
  grep -E '^[A-Z_0-9]+ [0-9a-f]+ [0-9a-f]+$' "$W/keys" | sort -u >"$W/tidy.keys"
  editcap --inject-secrets "tls,$W/tidy.keys" "$OUT/$1" "$W/emb.pcapng"
  $PY "$W/tool.py" bareshb "$W/emb.pcapng" "$OUT/$1"
}
kget() { local n=$1; shift; get "$n" -keylogfile "$W/keys" "$@"; }
make_keys_suites() {
  local c k='@SECLEVEL=0'
  net; rm -f "$W/keys"; old www -cipher "ALL:$k" -ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256
  start
  for c in ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384 ECDHE-RSA-CHACHA20-POLY1305 AES128-CCM AES256-CCM8 \
      ECDHE-RSA-AES128-SHA ECDHE-RSA-AES256-SHA384 AES128-SHA256; do
    kget www.contoso.com -tls1_2 -cipher $c
  done
  # the MAC first, then encryption; the master secret of RFC 5246
  sed 's/^Options = .*/Options = UnsafeLegacyRenegotiation,-EncryptThenMac,-ExtendedMasterSecret/' "$W/old.cnf" >"$W/plain.cnf"
  for c in ECDHE-RSA-AES256-SHA ECDHE-RSA-AES128-SHA256 ECDHE-RSA-AES256-SHA384 ECDHE-RSA-AES256-GCM-SHA384; do
    OPENSSL_CONF=$W/plain.cnf kget www.contoso.com -tls1_2 -cipher $c
  done
  for c in -tls1 -tls1_1; do
    old kget www.contoso.com $c -cipher "ECDHE-RSA-AES128-SHA:$k"
    OPENSSL_CONF=$W/plain.cnf kget www.contoso.com $c -cipher "ECDHE-RSA-AES256-SHA:$k"
  done
  for c in AES_128_GCM_SHA256 AES_256_GCM_SHA384 CHACHA20_POLY1305_SHA256 AES_128_CCM_SHA256 AES_128_CCM_8_SHA256; do
    kget www.contoso.com -tls1_3 -ciphersuites TLS_$c
  done
  keep_with_keys keys-suites.pcapng
}
make_keys_h2_goaway() {
  net; rm -f "$W/keys"
  ngx <<N
server { listen $SRV:443 ssl http2; server_name mail.contoso.com;
  $(ngxcert mail) ssl_protocols TLSv1.2; ssl_prefer_server_ciphers on;
  ssl_ciphers ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES256-GCM-SHA384; }
server { listen $SRV2:443 ssl http2; server_name autodiscover.contoso.com;
  $(ngxcert mail) ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers on;
  ssl_ciphers ECDHE-RSA-AES256-GCM-SHA384; }
N
  start
  export SSLKEYLOGFILE=$W/keys
  web mail.contoso.com $SRV --http2 --interface $CLI1
  client $PY "$W/tool.py" h2strict $CLI3 $SRV mail.contoso.com "$W/cas.pem"
  client $PY "$W/tool.py" h2strict $CLI3 $SRV2 autodiscover.contoso.com "$W/cas.pem"
  web autodiscover.contoso.com $SRV2 --http2 --interface $CLI1
  unset SSLKEYLOGFILE
  keep_with_keys keys-h2-goaway.pcapng
}
make_keys_quic() {
  quiclib keys-quic || return 0
  net; rm -f "$W/keys"; server $PY "$W/tool.py" quicserver $SRV "$W/www.pem" "$W/www.key"; sleep 1.5; start
  SSLKEYLOGFILE=$W/keys client $PY "$W/tool.py" quicclient $SRV www.contoso.com "$W/cas.pem"
  unset PYTHONPATH
  keep_with_keys keys-quic.pcapng
}
make_keys_tls13_inside() {
  local n
  net; rm -f "$W/keys"
  www -tls1_3
  server openssl s_server -quiet -early_data -tls1_3 -accept $SRV:8443 $(cert www); listening 8443
  sserver $SRV2:443 $(cert www) -tls1_3 -Verify 1 -CAfile "$W/ca.pem"
  sserver $SRV3:443 $(cert www) -tls1_3 -groups P-384
  old sserver $OFFICE:443 $(cert office) -tls1_2 -client_renegotiation
  start
  SSLKEYLOGFILE=$W/keys client gnutls-cli --x509cafile="$W/pub.pem" --sni-hostname=www.contoso.com \
    --verify-hostname=www.contoso.com -p 443 --priority='NORMAL:-VERS-ALL:+VERS-TLS1.3' $SRV </dev/null || true
  kget mail.contoso.com                             # the certificate is for another name
  echo "early data" >"$W/early"
  for n in "-sess_out $W/s5" "-sess_in $W/s5 -early_data $W/early"; do
    { sleep 0.5; echo data; sleep 0.3; } |
      client openssl s_client -keylogfile "$W/keys" -connect $SRV:8443 -servername www.contoso.com $n || true
  done
  kget www.contoso.com -connect $SRV2:443 $(cert user)
  kget www.contoso.com -connect $SRV2:443
  kget www.contoso.com -connect $SRV3:443 -groups X25519:P-384
  { sleep 0.5; echo K; sleep 0.3; echo k; sleep 0.3; printf 'GET /index.html HTTP/1.0\r\n\r\n'; sleep 0.5; } |
    client openssl s_client -keylogfile "$W/keys" -connect $SRV:443 -servername www.contoso.com || true
  { sleep 0.5; echo R; sleep 0.5; printf 'GET /index.html HTTP/1.0\r\n\r\n'; sleep 0.5; } |
    client openssl s_client -keylogfile "$W/keys" -tls1_2 -connect $OFFICE:443 -servername outlook.office365.com || true
  keep_with_keys keys-tls13-inside.pcapng
}

# ---------------------------------------------------------------- field cases

# A load balancer (haproxy) in front of two Exchange-like servers: other certificate behind it, one server with
# another order of suites, one path without TLS behind it, and NTLM that can be read there.
make_s1_exchange_behind_a_balancer() {
  local n lb; lb=$(host lb)
  lan cl=10.0.1.10 lb=10.0.1.20 ex1=10.0.1.5 ex2=10.0.1.6
  for n in 1 2; do
    S=$(host ex$n) ngx ex$n <<N
server { listen 443 ssl; listen 80; server_name mail.contoso.com; $(ngxcert mail2) ssl_protocols TLSv1.2;
  ssl_prefer_server_ciphers on; keepalive_timeout 0;
  ssl_ciphers $( ((n == 1)) && echo ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-SHA || echo ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES256-GCM-SHA384 );
  location / { return 200 "ok"; } location /EWS/ { return 401 "no"; } }
N
  done
  cat "$W/mail.pem" "$W/mail.key" >"$W/lb.pem"
  cat >"$W/lb.cfg" <<N
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  option httpclose
frontend owa
  bind 10.0.1.20:443 ssl crt $W/lb.pem ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2
  use_backend plain if { path_beg /EWS }
  default_backend exchange
backend exchange
  server ex1 10.0.1.5:443 ssl verify none sni str(mail.contoso.com) no-ssl-reuse
  server ex2 10.0.1.6:443 ssl verify none sni str(mail.contoso.com) no-ssl-reuse
backend plain
  http-request set-header X-Forwarded-Proto https
  server ex1 10.0.1.5:80
N
  S=$lb server haproxy -q -db -f "$W/lb.cfg"; S=$lb listening 443
  cap "$lb" eth0 'tcp'
  for n in 1 2 3 4 5 6; do
    C=$(host cl) client curl -sS --tls-max 1.2 --resolve mail.contoso.com:443:10.0.1.20 --cacert "$W/cas.pem" https://mail.contoso.com/owa/
    sleep 0.3
  done
  for n in v1 v2; do
    C=$(host cl) client curl -sS --tls-max 1.2 --resolve mail.contoso.com:443:10.0.1.20 --cacert "$W/cas.pem" \
      -H "Authorization: NTLM $($PY "$W/tool.py" ntlm $n)" https://mail.contoso.com/EWS/Exchange.asmx
  done
  keep s1-exchange-behind-a-balancer.pcapng
}

# Microsoft 365 accepts TLS 1.2 only: who still offers less, to which name.
make_s2_office365_old_clients() {
  net
  ngx <<N
server { listen $OFFICE:443 ssl; listen $OFFICE:995 ssl; $(ngxcert office) ssl_protocols TLSv1.2 TLSv1.3;
  ssl_ciphers ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256; }
N
  start
  old web outlook.office365.com $OFFICE --tlsv1.0 --tls-max 1.0 --interface $CLI1
  sleep 0.4
  old web outlook.office365.com $OFFICE --tlsv1.0 --tls-max 1.0 --interface $CLI1
  old client openssl s_client -bind $CLI2:0 -connect $OFFICE:443 -servername login.microsoftonline.com -tls1_1 </dev/null || true
  old client openssl s_client -bind $CLI2:0 -connect $OFFICE:995 -servername outlook.office365.com -tls1 </dev/null || true
  web outlook.office365.com $OFFICE --interface $CLI3
  client openssl s_client -bind $CLI4:0 -connect $OFFICE:443 -servername outlook.office365.com -tls1_2 \
    -cipher ECDHE-ECDSA-AES128-GCM-SHA256 </dev/null || true
  keep s2-office365-old-clients.pcapng
}

# A proxy (nginx) that publishes autodiscover and asks the server behind it for mail, one path without TLS where the
# server refuses the token, a client without the root certificate, and a debugging proxy in front of the log-on.
make_s3_hybrid_sign_in() {
  local n wap cl; wap=$(host wap) cl=$(host cl)
  lan cl=10.0.1.10 wap=10.0.1.20 ex1=10.0.1.5 fid=10.0.1.30
  S=$(host ex1) ngx ex1 <<N
server { listen 443 ssl; $(ngxcert mail) ssl_protocols TLSv1.2; keepalive_timeout 0; location / { return 200 "ok"; } }
server { listen 80; keepalive_timeout 0; location / {
  add_header x-ms-diagnostics '2000003;reason="The hostname component of the audience claim value is invalid. Expected \'https://autodiscover.contoso.com\'. Actual \'http://autodiscover.contoso.com\'.";error_category="invalid_resource"' always;
  return 401 "no"; } }
N
  S=$(host fid) ngx fid <<N
server { listen 443 ssl; $(ngxcert login) ssl_protocols TLSv1.2; location / { return 200 "ok"; } }
N
  S=$wap ngx wap <<N
server { listen 443 ssl; server_name autodiscover.contoso.com; $(ngxcert mail) ssl_protocols TLSv1.2; keepalive_timeout 0;
  location / { proxy_pass https://10.0.1.5:443; proxy_ssl_server_name on; proxy_ssl_name mail.contoso.com;
    proxy_set_header Host mail.contoso.com; proxy_ssl_session_reuse off; }
  location /EWS/ { proxy_pass http://10.0.1.5:80; proxy_set_header Host \$host; } }
N
  cap "$wap" eth0 'tcp'
  for n in 1 2 3 4; do
    C=$cl client curl -sS --tls-max 1.2 --resolve autodiscover.contoso.com:443:10.0.1.20 --cacert "$W/cas.pem" https://autodiscover.contoso.com/autodiscover/autodiscover.xml
    sleep 0.3
  done
  for n in 1 2; do
    C=$cl client curl -sS --tls-max 1.2 --resolve autodiscover.contoso.com:443:10.0.1.20 --cacert "$W/cas.pem" \
      -H 'Authorization: Bearer eyJub3QiOiJhIHRva2VuIn0' https://autodiscover.contoso.com/EWS/Exchange.asmx
    sleep 0.3
  done
  C=$cl client openssl s_client -connect 10.0.1.20:443 -servername autodiscover.contoso.com -tls1_2 -verify_return_error \
    -CAfile "$W/pub.pem" </dev/null || true
  # what the proxy itself sees of the log-on
  C=$wap client curl -sS -k --tls-max 1.2 --resolve login.microsoftonline.com:443:10.0.1.30 https://login.microsoftonline.com/
  keep s3-hybrid-sign-in.pcapng
}

# A server boots: served, refused, reset after the hello, served again; and one client that never recovers.
make_s4_server_that_boots() {
  local n
  net; www -tls1_2; start
  for n in 1 2 3; do get www.contoso.com -tls1_2; sleep 1; done
  stop_servers; sleep 0.5
  for n in 1 2 3; do get www.contoso.com -tls1_2; sleep 1; done
  server $PY "$W/tool.py" reset $SRV 443; listening 443
  for n in 1 2 3 4 5 6 7 8; do get www.contoso.com -tls1_2; sleep 1.5; done
  stop_servers; www -tls1_2
  for n in 5 11 7 13 6 12 9 4; do
    client $PY "$W/tool.py" mute $CLI1 $SRV 443
    client openssl s_client -bind $CLI2:0 -connect $SRV:443 -servername www.contoso.com -tls1_2 </dev/null || true
    sleep $n
  done
  keep s4-server-that-boots.pcapng
}

# DNS gives nine IPv6 addresses that nobody answers, and one IPv4 address that works.
make_s4_ipv6_first() {
  local n
  net
  { for n in 1 2 3 4 5 6 7 8 9; do echo "2001:db8:3::$n www.contoso.com"; done
    echo "$SRV www.contoso.com"; } >"$W/hosts"
  ip -n "$C" -6 route add 2001:db8:3::/64 via $SRV6 dev eth0 onlink
  mkdir -p /etc/netns/"$C"; echo "nameserver $SRV" >/etc/netns/"$C"/resolv.conf
  server dnsmasq -k -C /dev/null -R -h -u root --log-facility=/dev/null --listen-address=$SRV --bind-interfaces --addn-hosts="$W/hosts"
  www -tls1_2; start
  client $PY "$W/tool.py" first www.contoso.com 443 1 "$W/cas.pem" || true
  sleep 1
  client $PY "$W/tool.py" first www.contoso.com 443 1 "$W/cas.pem" || true
  keep s4-ipv6-first.pcapng
}

# An explicit proxy (squid): one target that it forbids, one that is down, one that works.
make_s4_explicit_proxy() {
  net
  cat >"$W/squid.conf" <<N
http_port $SRV3:3128
acl ssl_ports port 443
acl connect method CONNECT
http_access deny connect !ssl_ports
http_access allow all
cache deny all
pid_filename none
access_log none
cache_log /dev/null
hosts_file $W/hosts
dns_nameservers 127.0.0.1
shutdown_lifetime 1 seconds
netdb_filename none
visible_hostname proxy.contoso.com
N
  printf '%s\n' "$SRV www.contoso.com" "$SRV2 down.contoso.com" >"$W/hosts"
  www -tls1_2
  rm -f /dev/shm/squid-*      # what a squid that was stopped leaves
  server squid -N -f "$W/squid.conf"; listening 3128
  start
  client curl -sS -p -x http://$SRV3:3128 --tls-max 1.2 --cacert "$W/cas.pem" https://www.contoso.com/index.html || true
  client curl -sS -p -x http://$SRV3:3128 https://www.contoso.com:8443/ || true
  client curl -sS -p -x http://$SRV3:3128 https://down.contoso.com/ || true
  keep s4-explicit-proxy.pcapng
}

# ---------------------------------------------------------------- check and main

# What must be in each capture: file, display filter, how many packets.
stories() { cat <<'N'
owa-http2-blocklisted.pcapng|tls.handshake.type==2 && ip.src==198.51.100.25 && tls.handshake.ciphersuite==0xc014 && tls.handshake.extensions_alpn_str=="h2"|3
owa-http2-blocklisted.pcapng|tls.handshake.type==2 && ip.src==198.51.100.26 && tls.handshake.ciphersuite==0xc030 && tls.handshake.extensions_alpn_str=="h2"|2
owa-http2-blocklisted.pcapng|tls.handshake.type==2 && ip.src==203.0.113.15 && tls.handshake.version==0x0301|2
h2-healthy.pcapng|tls.handshake.type==2 && (tls.handshake.ciphersuite==0xc030 || tls.handshake.ciphersuite==0x1302)|2
tls10.pcap|tls.handshake.type==2 && tls.handshake.version==0x0301|2
tls11.pcap|tls.handshake.type==2 && tls.handshake.version==0x0302|2
tls12.pcap|tls.handshake.type==2 && tls.handshake.version==0x0303 && !tls.handshake.extensions.supported_version|2
tls13.pcap|tls.handshake.type==2 && tls.handshake.extensions.supported_version==0x0304|2
sni-missing.pcap|tls.alert_message.desc==112|2
sni-missing.pcap|ip.src==198.51.100.80 && tcp.flags.reset==1|1
sni-missing.pcap|tls.handshake.type==2|2
name-mismatch.pcap|tls.handshake.type==11|3
name-mismatch.pcap|tls.alert_message.desc==42|1
no-common-suite.pcap|tls.alert_message.desc==40|2
no-common-version.pcap|tls.alert_message.desc==70|2
hello-reset.pcap|ip.src==198.51.100.25 && tcp.flags.reset==1|2
hello-unanswered.pcap|tls.handshake.type==1 || tcp.flags.fin==1 && frame.time_relative>5|3
hello-unanswered.pcap|ip.src==198.51.100.25 && tcp.len>0|0
syn-unanswered.pcap|tcp.flags.syn==1 && !tcp.analysis.retransmission|1
syn-unanswered.pcap|tcp.flags.syn==0 || tcp.flags.ack==1|0
connection-refused.pcap|tcp.flags.reset==1|2
out-of-order.pcap|tcp.analysis.out_of_order || tcp.analysis.retransmission|4
renegotiation.pcap|tls.record.content_type==22 && frame.time_relative>0.3|4
resumption.pcap|tls.handshake.type==2|6
resumption.pcap|tls.handshake.type==11|2
resumption.pcap|tls.handshake.type==2 && tls.handshake.extensions.psk.identity.selected==0|1
hello-retry-request.pcap|tls.handshake.type==1|2
hello-two-segments.pcap|tls.handshake.type==1 && tls.segment.count==2 || tls.handshake.type==1 && tcp.segment.count==2|2
ipv6.pcap|ipv6 && tls.handshake.type==2|2
vlan.pcap|vlan.id==110 && tls.handshake.type==2|1
mutual-tls.pcap|tls.handshake.type==15|1
client-rejects-cert.pcap|tls.alert_message.desc==48|2
client-rejects-cert.pcap|tls.handshake.type==2|3
dhe-1024.pcap|tls.handshake.p_len==128|1
rsa-key-exchange.pcap|tls.handshake.type==2 && tls.handshake.ciphersuite==0x002f|1
ecdsa.pcap|tls.handshake.type==2 && (tls.handshake.ciphersuite==0xc02c || tls.handshake.ciphersuite==0x1302)|2
starttls-smtp.pcap|tcp.port==25 && tls.handshake.type==2|1
http-connect.pcap|tcp.port==3128 && tls.handshake.type==2|2
quic.pcapng|quic && tls.handshake.type==1|1
dtls12.pcap|dtls.handshake.type==1 || dtls.handshake.type==3 || dtls.handshake.type==2|4
s1-exchange-behind-a-balancer.pcapng|tls.handshake.type==11 && ip.src==10.0.1.20|8
s1-exchange-behind-a-balancer.pcapng|ntlmssp.messagetype==0x00000003|2
s2-office365-old-clients.pcapng|tls.alert_message.desc==70|4
s3-hybrid-sign-in.pcapng|tls.handshake.type==1 && ip.src==10.0.1.20 && tls.handshake.extensions_server_name=="mail.contoso.com"|4
s3-hybrid-sign-in.pcapng|http.response.code==401|2
s4-server-that-boots.pcapng|tcp.flags.reset==1 && tcp.flags.syn==0 && ip.src==198.51.100.25|11
s4-ipv6-first.pcapng|dns.flags.response==1 && dns.aaaa|2
s4-explicit-proxy.pcapng|http.response.code==403 || http.response.code==503|2
with-keys-embedded.pcapng|http2.headers.status==200|2
keys-suites.pcapng|tls.handshake.type==2|21
keys-suites.pcapng|http.response.code==200|21
keys-h2-goaway.pcapng|http2.goaway.error==12|1
keys-h2-goaway.pcapng|http2.goaway.error==0|1
keys-quic.pcapng|tls.handshake.type==8 && tls.handshake.extensions_alpn_str=="h3"|1
keys-tls13-inside.pcapng|tls.alert_message.desc==116|1
keys-tls13-inside.pcapng|tls.handshake.type==24|3
N
}
verify() {  # the stories of capture $1 are in its file
  local f rest filter want got
  while IFS='|' read -r f rest; do
    [[ ${f%.pcap*} == "$1" || ${f%.pcap*} == "$1-embedded" ]] || continue
    want=${rest##*|} filter=${rest%|*}
    [[ -f $OUT/$f ]] || continue
    got=$(tshark -r "$OUT/$f" -Y "$filter" 2>"$W/tshark.log" | wc -l)
    (( got == want )) || FAILED+=("$f: $got packets, not $want, with $filter")
  done < <(stories)
}

check() {   # one line per TLS/QUIC/DTLS handshake message, alert, and first data of $1
  local f=$1 k=()
  echo "== ${f##*/}  $(stat -c %s "$f") bytes"
  tshark -r "$f" -o tcp.reassemble_out_of_order:TRUE -d tcp.port==3128,http \
    -Y 'tls.handshake || tls.alert_message || dtls.handshake || dtls.alert_message || quic.long.packet_type || tcp.flags.reset==1 || tcp.flags.syn==1 && tcp.analysis.retransmission || tcp.analysis.out_of_order' \
    -T fields -E separator=' ' -E occurrence=a -e frame.number -e ip.src -e ipv6.src -e tcp.stream -e _ws.col.Protocol -e _ws.col.Info \
    -e tls.handshake.ciphersuite -e tls.alert_message.desc 2>/dev/null |
    awk '{ if (length($0) > 230) $0 = substr($0, 1, 230) "..."; print "   " $0 }'
}

ALL=(owa-http2-blocklisted h2-healthy tls10 tls11 tls12 tls13 sni-missing name-mismatch
  no-common-suite no-common-version hello-reset hello-unanswered syn-unanswered
  connection-refused resumption hello-retry-request hello-two-segments out-of-order ipv6 vlan
  mutual-tls client-rejects-cert renegotiation dhe-1024 rsa-key-exchange ecdsa starttls-smtp
  http-connect quic dtls12 with-keys keys-suites keys-h2-goaway keys-tls13-inside keys-quic
  s1-exchange-behind-a-balancer s2-office365-old-clients s3-hybrid-sign-in
  s4-server-that-boots s4-ipv6-first s4-explicit-proxy)

main() {
  local n
  if [[ ${1:-} == check ]]; then
    shift
    (( $# )) || set -- "$OUT"/*.pcap "$OUT"/*.pcapng
    for n; do
      [[ -f $n ]] || n=$(ls "$OUT/$n".pcap* | head -1)
      check "$n"
    done
    return
  fi
  (( $(id -u) == 0 )) || { echo "run as root" >&2; exit 1; }
  install_tools
  prepare
  (( $# )) || set -- "${ALL[@]}"
  for n; do
    n=${n%.pcap*}
    declare -F "make_${n//-/_}" >/dev/null || { echo "no such capture: $n" >&2; exit 1; }
    echo "-- $n"
    "make_${n//-/_}"
    verify "$n"
  done
  down
  echo "made: $*"
  if (( ${#FAILED[@]} )); then printf 'NOT AS WANTED: %s\n' "${FAILED[@]}"; exit 1; fi
}
main "$@"
