"""python-socketio with its defaults, on a spare port that it prints."""

import socket

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi")


@sio.on("ask")
async def ask(sid, *args):
    return args


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
print("listening", listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(socketio.ASGIApp(sio), log_level="error")).run(sockets=[listener])
