"""A server on Flask-SocketIO with threads; see CONTRACT.md."""

import json
import logging
import os
import sys
import time

import engineio.payload
import flask
import flask_socketio
from werkzeug.serving import WSGIRequestHandler, make_server

ARGS = dict(zip((word[2:] for word in sys.argv[1::2]), sys.argv[2::2]))
OPTIONS = json.loads(ARGS["options"])

# It refuses a body of more than 16 packets, unless told otherwise.
engineio.payload.Payload.max_decode_packets = 10_000
app = flask.Flask(__name__)
io = flask_socketio.SocketIO(
    app,
    async_mode="threading",
    # Else a thread for each event, and one overtakes the other.
    async_handlers=False,
    max_http_buffer_size=OPTIONS["maxHttpBufferSize"],
    ping_interval=OPTIONS["pingInterval"] / 1000,
    ping_timeout=OPTIONS["pingTimeout"] / 1000,
)


def register(nsp):
    def on(name):
        return lambda handler: io.on_event(name, handler, namespace=nsp)

    @on("echo")
    def echo(text):
        flask_socketio.emit("echo", text)

    @on("echo bytes")
    def echo_bytes(value):
        flask_socketio.emit("echo bytes", value)

    @on("ack")
    def ack(text):
        return text

    # What a handler gives back is the answer: nothing else comes meanwhile.
    @on("later")
    def later(text):
        time.sleep(0.2)
        return text

    @on("ask")
    def ask(text):
        sid = flask.request.sid

        def answered(answer):
            io.emit("answered", answer, to=sid, namespace=nsp)

        io.emit("question", text, to=sid, namespace=nsp, callback=answered)

    @on("join")
    def join(room):
        flask_socketio.join_room(room)
        return room

    @on("news")
    def news(room):
        io.emit("news", room, to=room, namespace=nsp)

    @on("leave me")
    def leave_me(close):
        flask_socketio.disconnect()

    @on("end")
    def end():
        os._exit(0)


for name in ["/", "/admin"]:
    register(name)


@io.on("connect", namespace="/guarded")
def refuse(auth=None):
    raise flask_socketio.ConnectionRefusedError("not authorized")


class Persistent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"


# It tells each request, and each end of a connection as an error.
logging.disable()
server = make_server("127.0.0.1", int(ARGS["port"]), app, threaded=True, request_handler=Persistent)
print(json.dumps({"listening": server.socket.getsockname()[1]}), flush=True)
server.serve_forever()
