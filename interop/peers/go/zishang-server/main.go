// A server on zishang520/socket.io; see CONTRACT.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/zishang520/socket.io/servers/socket/v3"
)

func main() {
	port := flag.Int("port", 0, "")
	given := flag.String("options", "{}", "")
	flag.String("flags", "", "")
	flag.Parse()
	var wanted struct{ MaxHttpBufferSize, PingInterval, PingTimeout int64 }
	check(json.Unmarshal([]byte(*given), &wanted))

	options := socket.DefaultServerOptions()
	options.SetAllowEIO3(true)
	options.SetMaxHttpBufferSize(wanted.MaxHttpBufferSize)
	options.SetPingInterval(time.Duration(wanted.PingInterval) * time.Millisecond)
	options.SetPingTimeout(time.Duration(wanted.PingTimeout) * time.Millisecond)
	server := socket.NewServer(nil, options)
	for _, name := range []string{"/", "/admin"} {
		namespace := server.Of(name, nil)
		check(namespace.On("connection", func(clients ...any) { listen(namespace, clients[0].(*socket.Socket)) }))
	}
	server.Of("/guarded", nil).Use(func(_ *socket.Socket, next func(*socket.ExtendedError)) {
		next(socket.NewExtendedError("not authorized", nil))
	})

	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	check(err)
	fmt.Printf("{\"listening\":%d}\n", listener.Addr().(*net.TCPAddr).Port)
	http.Handle("/socket.io/", server.ServeHandler(nil))
	check(http.Serve(listener, nil))
}

func listen(namespace socket.Namespace, client *socket.Socket) {
	on := func(event string, handle func(value any, ack func(any))) {
		check(client.On(event, func(args ...any) {
			ack := func(any) {}
			if last := len(args) - 1; last >= 0 {
				if answer, ok := args[last].(socket.Ack); ok {
					ack, args = func(value any) { answer([]any{value}, nil) }, args[:last]
				}
			}
			handle(append(args, nil)[0], ack)
		}))
	}
	on("echo", func(text any, _ func(any)) { client.Emit("echo", text) })
	on("echo bytes", func(bytes any, _ func(any)) { client.Emit("echo bytes", bytes) })
	on("ack", func(text any, ack func(any)) { ack(text) })
	on("later", func(text any, ack func(any)) {
		time.AfterFunc(200*time.Millisecond, func() { ack(text) })
	})
	on("ask", func(text any, _ func(any)) {
		client.Emit("question", text, func(answer []any, _ error) { client.Emit("answered", answer...) })
	})
	on("join", func(room any, ack func(any)) {
		client.Join(socket.Room(room.(string)))
		ack(room)
	})
	on("news", func(room any, _ func(any)) { namespace.To(socket.Room(room.(string))).Emit("news", room) })
	on("leave me", func(any, func(any)) { client.Disconnect(false) })
	on("end", func(any, func(any)) { os.Exit(0) })
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
