"""A server on python-socketio, 4 and 5 alike; see CONTRACT.md."""

import asyncio
import json
import os
import socket
import sys

import engineio.payload
import socketio
import uvicorn

ARGS = dict(zip((word[2:] for word in sys.argv[1::2]), sys.argv[2::2]))
OPTIONS = json.loads(ARGS["options"])

# Version 4 hands coroutines to it, which Python takes no longer.
wait_for_tasks = asyncio.wait
asyncio.wait = lambda all: wait_for_tasks([asyncio.ensure_future(one) for one in all])
# It refuses a body of more than 16 packets, unless told otherwise.
engineio.payload.Payload.max_decode_packets = 10_000
io = socketio.AsyncServer(
    async_mode="asgi",
    max_http_buffer_size=OPTIONS["maxHttpBufferSize"],
    ping_interval=OPTIONS["pingInterval"] / 1000,
    ping_timeout=OPTIONS["pingTimeout"] / 1000,
)


def register(nsp):
    def on(name):
        return lambda handler: io.on(name, handler, namespace=nsp)

    async def emit(sid, event, value):
        await io.emit(event, value, room=sid, namespace=nsp)

    @on("echo")
    async def echo(sid, text):
        await emit(sid, "echo", text)

    @on("echo bytes")
    async def echo_bytes(sid, value):
        await emit(sid, "echo bytes", value)

    @on("ack")
    async def ack(sid, text):
        return text

    @on("later")
    async def later(sid, text):
        await asyncio.sleep(0.2)
        return text

    @on("ask")
    async def ask(sid, text):
        async def answered(answer):
            await emit(sid, "answered", answer)

        await io.emit("question", text, room=sid, namespace=nsp, callback=answered)

    @on("join")
    async def join(sid, room):
        # In version 5 it is a coroutine.
        await done(io.enter_room(sid, room, namespace=nsp))
        return room

    @on("news")
    async def news(sid, room):
        await io.emit("news", room, room=room, namespace=nsp)

    @on("leave me")
    async def leave_me(sid, close):
        await io.disconnect(sid, namespace=nsp)

    @on("end")
    async def end(sid):
        os._exit(0)


async def done(what):
    if asyncio.iscoroutine(what):
        await what


for name in ["/", "/admin"]:
    register(name)


@io.on("connect", namespace="/guarded")
async def refuse(sid, environ, auth=None):
    raise socketio.exceptions.ConnectionRefusedError("not authorized")


# Without the protocol's number, asyncio leaves Nagle's algorithm on.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(ARGS["port"])))
listener.listen(100)
print(json.dumps({"listening": listener.getsockname()[1]}), flush=True)
config = uvicorn.Config(socketio.ASGIApp(io), log_level="warning")
uvicorn.Server(config).run(sockets=[listener])
