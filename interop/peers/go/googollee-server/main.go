// A server on googollee/go-socket.io, which has no bound for what it takes; see CONTRACT.md.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/parser"
)

func main() {
	port := flag.Int("port", 0, "")
	given := flag.String("options", "{}", "")
	flag.String("flags", "", "")
	flag.Parse()
	var wanted struct{ PingInterval, PingTimeout int64 }
	check(json.Unmarshal([]byte(*given), &wanted))

	server := socketio.NewServer(&engineio.Options{
		PingInterval: time.Duration(wanted.PingInterval) * time.Millisecond,
		PingTimeout:  time.Duration(wanted.PingTimeout) * time.Millisecond,
	})
	for _, name := range []string{"/", "/admin"} {
		listen(server, name)
	}
	server.OnConnect("/guarded", func(socketio.Conn) error { return errors.New("not authorized") })

	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	check(err)
	fmt.Printf("{\"listening\":%d}\n", listener.Addr().(*net.TCPAddr).Port)
	go func() { check(server.Serve()) }()
	http.Handle("/socket.io/", server)
	check(http.Serve(listener, nil))
}

func listen(server *socketio.Server, name string) {
	server.OnConnect(name, func(socketio.Conn) error { return nil })
	server.OnEvent(name, "echo", func(client socketio.Conn, text string) { client.Emit("echo", text) })
	server.OnEvent(name, "echo bytes", func(client socketio.Conn, bytes *parser.Buffer) {
		client.Emit("echo bytes", &parser.Buffer{Data: bytes.Data})
	})
	server.OnEvent(name, "ack", func(_ socketio.Conn, text string) string { return text })
	// What a handler gives back is the answer: nothing else comes meanwhile.
	server.OnEvent(name, "later", func(_ socketio.Conn, text string) string {
		time.Sleep(200 * time.Millisecond)
		return text
	})
	server.OnEvent(name, "ask", func(client socketio.Conn, text string) {
		client.Emit("question", text, func(answer string) { client.Emit("answered", answer) })
	})
	server.OnEvent(name, "join", func(client socketio.Conn, room string) string {
		client.Join(room)
		return room
	})
	server.OnEvent(name, "news", func(_ socketio.Conn, room string) { server.BroadcastToRoom(name, room, "news", room) })
	// It cannot leave a namespace: it ends the connection.
	server.OnEvent(name, "leave me", func(client socketio.Conn, _ bool) { client.Close() })
	server.OnEvent(name, "end", func(socketio.Conn) { os.Exit(0) })
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
