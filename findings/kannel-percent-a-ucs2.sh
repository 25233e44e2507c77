#!/usr/bin/env bash
# Kannel 1.4.5 (Debian 12, package 1.4.5-12): a reply in UCS-2 (SMPP 3.4, data_coding 8) is handed to a web service in the escape %a of get-url.
# The user guide calls %a "all words of the SMS message, including the first one, with spaces squeezed to one".
# Seen: the words are cut by octets and not by letters, so every octet that is white space in ASCII (0x09 to 0x0D, 0x20) counts as a blank,
# also inside a letter: U+4E0A and U+4E0D (both common words) and U+4E09 come out as the same octets, and what was said cannot be got back.
# %b hands over all octets as they came. So a service that is meant to read Chinese answers needs %b together with %C.
# Run: bash findings/kannel-percent-a-ucs2.sh    (Debian 12, network for apt; fails when the behaviour is another)
set -euo pipefail
version=1.4.5-12
place=$(mktemp -d); pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$place"' EXIT
cd "$place"; mkdir -p debs/partial root; touch calls
chmod 755 "$place" debs debs/partial
apt-get -qq -o Dir::Cache::archives="$place/debs" install --download-only --no-install-recommends -y "kannel=$version" >/dev/null 2>&1 || true
[ -n "$(find debs -name 'kannel_*.deb')" ] || (cd debs && apt-get -qq -o APT::Sandbox::User=root download "kannel=$version")
for deb in debs/*.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH="$PWD/root/usr/lib/x86_64-linux-gnu:$PWD/root/lib/x86_64-linux-gnu"

cat > peers.py <<'PY'
"""A message centre of SMPP 3.4 that brings three replies, and a web service that writes down what it is called with."""
import http.server, socket, struct, sys, threading, time

REPLIES = ["\u4e0a\u5c71", "\u4e0d\u5c71", "\u6536\u5230"]

class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("calls", "a") as calls:
            calls.write(self.path + "\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

def unit(command, sequence, body=b""):
    return struct.pack(">IIII", 16 + len(body), command, 0, sequence) + body

def exactly(line, number):
    data = b""
    while len(data) < number:
        more = line.recv(number - len(data))
        if not more:
            raise SystemExit
        data += more
    return data

def bring(line):
    for number, text in enumerate(REPLIES, 1):
        octets = text.encode("utf-16-be")
        head = b"\0\2\1" + b"15400000001\0" + b"\2\1" + b"10620000\0" + bytes(7) + bytes([8, 0, len(octets)])
        line.sendall(unit(5, number, head + octets))
        time.sleep(0.2)

service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
threading.Thread(target=service.serve_forever, daemon=True).start()
centre = socket.create_server(("127.0.0.1", 0))
print(centre.getsockname()[1], service.server_address[1], flush=True)
line, _ = centre.accept()
while True:
    length, command, _, sequence = struct.unpack(">IIII", exactly(line, 16))
    exactly(line, length - 16)
    if command in (1, 2, 9):
        line.sendall(unit(command | 0x80000000, sequence, b"centre\0"))
        threading.Timer(3, bring, [line]).start()
    elif command in (6, 0x15):
        line.sendall(unit(command | 0x80000000, sequence))
PY
python3 peers.py > ports & pids+=($!)
until [ -s ports ]; do sleep 0.1; done
read -r centre service < ports
free() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
admin=$(free); boxes=$(free); send=$(free)
cat > kannel.conf <<CONF
group = core
admin-port = $admin
admin-password = admin
smsbox-port = $boxes
box-allow-ip = "127.0.0.1"
dlr-storage = internal
log-level = 1

group = smsc
smsc = smpp
smsc-id = out
host = 127.0.0.1
port = $centre
transceiver-mode = true
smsc-username = user
smsc-password = secret
system-type = ""

group = smsbox
bearerbox-host = 127.0.0.1
bearerbox-port = $boxes
sendsms-port = $send
sendsms-interface = 127.0.0.1
log-level = 1

group = sms-service
keyword = default
catch-all = true
omit-empty = true
max-messages = 0
get-url = "http://127.0.0.1:$service/?a=%a&b=%b&charset=%C"
CONF
root/usr/sbin/bearerbox -v 4 kannel.conf > bearerbox.log 2>&1 & pids+=($!)
sleep 1
root/usr/sbin/smsbox -v 4 kannel.conf > smsbox.log 2>&1 & pids+=($!)
for _ in $(seq 150); do [ "$(wc -l < calls)" -ge 3 ] && break; sleep 0.1; done
root/usr/sbin/bearerbox --version 2>&1 | head -n 1 || true
cat calls
python3 - <<'PY'
from urllib.parse import unquote_to_bytes
calls = [dict(pair.split("=", 1) for pair in line.strip().split("?", 1)[1].split("&")) for line in open("calls")]
raw = lambda call, name: unquote_to_bytes(call[name].replace("+", " "))
assert len(calls) == 3, calls
up, no, received = calls
assert [raw(call, "b").decode("utf-16-be") for call in calls] == ["\u4e0a\u5c71", "\u4e0d\u5c71", "\u6536\u5230"], "%b has changed"
assert {call["charset"] for call in calls} == {"UTF-16BE"}, calls
assert raw(up, "a") == raw(no, "a") != raw(up, "b"), "%a now tells the two words apart"
assert raw(received, "a") == raw(received, "b"), "%a now changes a text without such octets"
print("as stated: by %a the first two texts are the same octets", raw(up, "a").hex(), "and by %b", raw(up, "b").hex(), "and", raw(no, "b").hex())
PY
