"""The driven client on python-socketio, 4 and 5 alike; see CONTRACT.md."""

import base64
import importlib.metadata
import json
import sys
import threading
import time
import urllib.parse

import engineio.payload
import socketio

IS_5 = importlib.metadata.version("python-socketio").startswith("5.")
CLIENTS = {}
LOCK = threading.Lock()


def fact(kind, name, namespace, **fields):
    line = json.dumps({kind: {"of": name, "namespace": namespace, **fields}})
    with LOCK:
        print(line, flush=True)


def read(value):
    """Bytes are written {"$bytes": base64}."""
    if isinstance(value, list):
        return [read(one) for one in value]
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        return {key: read(one) for key, one in value.items()}
    return value


def written(value):
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [written(one) for one in value]
    if isinstance(value, dict):
        return {key: written(one) for key, one in value.items()}
    return value


def listen(client, name, namespace, events):
    on = lambda event, handler: client.on(event, handler, namespace=namespace)
    sid = lambda: client.get_sid(namespace) if IS_5 else client.sid
    on("connect", lambda *_: fact("connected", name, namespace, id=sid()))
    # Only the newest versions give a reason.
    on("disconnect", lambda *why: fact("disconnected", name, namespace, reason=why[0] if why else None))
    on("connect_error", lambda *why: fact("refused", name, namespace, why=str(why[0]) if why else ""))

    def told(event):
        def tell(*args):
            fact("event", name, namespace, event=event, args=written(args))
            return args

        return tell

    for event in events:
        on(event, told(event))


def open_one(name, command):
    # A body of more than 16 packets ends the session, unless told otherwise.
    engineio.payload.Payload.max_decode_packets = command.get("packets", 16)
    namespaces = command["namespaces"]
    client = socketio.Client(
        reconnection=command.get("reconnection", False),
        reconnection_delay=0.05,
        reconnection_delay_max=0.2,
    )
    CLIENTS[name] = client
    for namespace in namespaces:
        listen(client, name, namespace, command["events"])
    options, url, joined = {}, command["url"], namespaces
    if "auth" in command:
        if IS_5:
            options["auth"] = command["auth"]
        else:
            # Version 4 has no `auth`: there it is the query of the namespace.
            joined = [one + "?" + urllib.parse.urlencode(command["auth"]) for one in namespaces]
    try:
        client.connect(url, transports=command.get("transports"), namespaces=joined, **options)
    except socketio.exceptions.ConnectionError as error:
        fact("failed", name, namespaces[0], why=str(error))


def emit(name, command):
    client, namespace = CLIENTS[name], command["namespace"]
    options = {"namespace": namespace}
    # It tells of a namespace a moment before it takes itself for connected.
    is_ready = lambda: client.connected and (namespace == "/" or namespace in client.namespaces)
    until = time.monotonic() + 5
    while not is_ready() and time.monotonic() < until:
        time.sleep(0.001)
    if "ack" in command:
        number = command["ack"]
        options["callback"] = lambda *args: fact("acked", name, namespace, id=number, args=written(args))
    for n in range(command.get("times", 1)):
        args = read(command["args"]) if "args" in command else [n]
        client.emit(command["event"], tuple(args), **options)


for line in sys.stdin:
    command = json.loads(line)
    name = command["to"]
    if command["do"] == "open":
        # It returns when it is connected, and the other connections are not to wait for that.
        threading.Thread(target=open_one, args=(name, command), daemon=True).start()
    elif command["do"] == "emit":
        emit(name, command)
    elif command["do"] == "close":
        threading.Thread(target=CLIENTS[name].disconnect, daemon=True).start()
    else:
        raise ValueError(line)
