"""The scenario server on python-socketio; see CONTRACT.md."""

import asyncio
import json
import socket
import sys

import engineio.payload
import socketio
import uvicorn

ARGS = dict(zip((word[2:] for word in sys.argv[1::2]), sys.argv[2::2]))
OPTIONS = json.loads(ARGS.get("options", "{}"))
NAMES = {
    "maxHttpBufferSize": "max_http_buffer_size",
    "transports": "transports",
}

# It refuses a body of more than 16 packets, unless told otherwise.
engineio.payload.Payload.max_decode_packets = 10_000
io = socketio.AsyncServer(
    async_mode="asgi", **{NAMES[name]: value for name, value in OPTIONS.items()}
)


def fact(**fact):
    print(json.dumps(fact), flush=True)


def listed(names):
    return [names] if isinstance(names, str) else names


def register(nsp):
    def on(name):
        return lambda handler: io.on(name, handler, namespace=nsp)

    def members(rooms):
        groups = [io.manager.get_participants(nsp, room) for room in rooms]
        return {sid for group in groups for sid, _ in group}

    auths = {}
    lock = asyncio.Lock()

    async def emit(sid, event, *args):
        await io.emit(event, args, to=sid, namespace=nsp)

    async def emit_to(rooms, without, event, value):
        # Handlers run beside each other: one after the other keeps the order.
        async with lock:
            for sid in members(rooms or [None]) - without:
                await emit(sid, event, value)

    @on("connect")
    async def connect(sid, environ, auth):
        if nsp == "/guarded" and (auth or {}).get("token") != "ok":
            raise socketio.exceptions.ConnectionRefusedError("not authorized", {"code": 42})
        auths[sid] = auth
        fact(connect={"nsp": nsp, "id": sid})

    @on("disconnect")
    async def disconnect(sid, reason):
        auths.pop(sid, None)
        fact(disconnect={"nsp": nsp, "id": sid, "reason": reason})

    @on("last")
    async def last(sid, how, n, _):
        fact(last={"id": sid, "how": how, "n": n})

    @on("echo")
    async def echo(sid, *args):
        await emit(sid, "echo", *args)

    @on("echo bytes")
    async def echo_bytes(sid, value):
        await emit(sid, "echo bytes", value)

    @on("ack")
    async def ack(sid, *args):
        return args

    @on("ask")
    async def ask(sid, value, ms=0):
        timeout = ms / 1000 if ms else 60
        try:
            answer = await io.call("question", value, to=sid, namespace=nsp, timeout=timeout)
            await emit(sid, "answered", None, answer)
        except socketio.exceptions.TimeoutError:
            await emit(sid, "answered", "operation has timed out", None)

    @on("join")
    async def join(sid, names):
        for name in listed(names):
            await io.enter_room(sid, name, namespace=nsp)
        return io.rooms(sid, namespace=nsp)

    @on("leave")
    async def leave(sid, names):
        for name in listed(names):
            await io.leave_room(sid, name, namespace=nsp)
        return io.rooms(sid, namespace=nsp)

    @on("news")
    async def news(sid, room):
        await io.emit("news", room, room=room, namespace=nsp)

    @on("send to")
    async def send_to(sid, rooms, without, event, value):
        await emit_to(rooms, members(without) | {sid}, event, value)

    @on("emit to")
    async def emit_to_all(sid, rooms, without, event, value):
        await emit_to(rooms, members(without), event, value)

    @on("leave me")
    async def leave_me(sid, close):
        # It has one way only.
        await io.disconnect(sid, namespace=nsp)

    @on("handshake")
    async def handshake(sid):
        return {"auth": auths[sid]}

    @on("transport")
    async def transport(sid):
        return io.transport(sid, namespace=nsp)

    @on("count")
    async def count(sid):
        return len(io.eio.sockets)

    @on("many")
    async def many(sid, count):
        for n in range(count):
            await emit(sid, "n", n)

    @on("close engine")
    async def close_engine(sid):
        await io.eio.disconnect()


for name in ["/", "/admin", "/guarded"]:
    register(name)
# Without the protocol's number, asyncio leaves Nagle's algorithm on.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", int(ARGS.get("port", 0))))
listener.listen()
fact(listening=listener.getsockname()[1])
config = uvicorn.Config(socketio.ASGIApp(io), log_level="warning")
uvicorn.Server(config).run(sockets=[listener])
