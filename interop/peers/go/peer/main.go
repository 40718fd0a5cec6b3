// The driven client on zishang520's socket.io for Go; see interop/CONTRACT.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/zishang520/socket.io/clients/engine/v3/transports"
	client "github.com/zishang520/socket.io/clients/socket/v3"
	"github.com/zishang520/socket.io/servers/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

type command struct {
	Do           string         `json:"do"`
	To           string         `json:"to"`
	Namespace    string         `json:"namespace"`
	URL          string         `json:"url"`
	Transports   []string       `json:"transports"`
	Auth         map[string]any `json:"auth"`
	Reconnection bool           `json:"reconnection"`
	Namespaces   []string       `json:"namespaces"`
	Events       []string       `json:"events"`
	Event        string         `json:"event"`
	Times        int            `json:"times"`
	Args         *[]any         `json:"args"`
	Ack          *int           `json:"ack"`
}

// The sockets of each connection by their namespaces.
var connections = map[string]map[string]*client.Socket{}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		switch c.Do {
		case "open":
			open(c)
		case "emit":
			emit(c)
		case "close":
			for _, socket := range connections[c.To] {
				socket.Disconnect()
			}
		default:
			panic(c.Do)
		}
	}
}

func open(c command) {
	options := client.DefaultOptions()
	options.SetForceNew(true)
	options.SetReconnection(c.Reconnection)
	options.SetReconnectionDelay(50)
	options.SetReconnectionDelayMax(200)
	if c.Transports != nil {
		wanted := types.NewSet[transports.TransportCtor]()
		for _, name := range c.Transports {
			wanted.Add(map[string]transports.TransportCtor{
				"polling":   transports.Polling,
				"websocket": transports.WebSocket,
			}[name])
		}
		options.SetTransports(wanted)
	}
	if c.Auth != nil {
		options.SetAuth(c.Auth)
	}
	options.SetAutoConnect(false)
	manager := client.NewManager(c.URL, options)
	sockets := map[string]*client.Socket{}
	connections[c.To] = sockets
	for _, namespace := range c.Namespaces {
		socket := manager.Socket(namespace, options)
		sockets[namespace] = socket
		listen(c, namespace, socket)
	}
	for _, namespace := range c.Namespaces {
		sockets[namespace].Connect()
	}
}

func listen(c command, namespace string, socket *client.Socket) {
	tell := func(kind string, fields map[string]any) {
		fields["of"], fields["namespace"] = c.To, namespace
		fact(map[string]any{kind: fields})
	}
	socket.On("connect", func(...any) { tell("connected", map[string]any{"id": socket.Id()}) })
	socket.On("disconnect", func(args ...any) {
		tell("disconnected", map[string]any{"reason": fmt.Sprint(args[0])})
	})
	socket.On("connect_error", func(args ...any) {
		tell("refused", map[string]any{"why": fmt.Sprint(args...)})
	})
	for _, event := range c.Events {
		socket.On(types.EventName(event), func(args ...any) {
			if len(args) > 0 {
				if ack, asks := args[len(args)-1].(func([]any, error)); asks {
					args = plain(args[:len(args)-1]).([]any)
					ack(args, nil)
				}
			}
			tell("event", map[string]any{"event": event, "args": written(args)})
		})
	}
}

func emit(c command) {
	target := connections[c.To][c.Namespace]
	for n := range max(c.Times, 1) {
		args := []any{n}
		if c.Args != nil {
			args = read(*c.Args).([]any)
		}
		if c.Ack == nil {
			target.Emit(c.Event, args...)
			continue
		}
		var answered socket.Ack = func(args []any, _ error) {
			fact(map[string]any{"acked": map[string]any{
				"of": c.To, "namespace": c.Namespace, "id": *c.Ack, "args": written(args),
			}})
		}
		target.EmitWithAck(c.Event, args...)(answered)
	}
}

var out sync.Mutex

func fact(fact map[string]any) {
	line, err := json.Marshal(fact)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

// Bytes are written {"$bytes": base64}, which is how JSON writes a []byte.
func read(value any) any {
	if object, is := value.(map[string]any); is {
		if text, is := object["$bytes"]; is {
			var bytes struct{ Bytes []byte }
			if err := json.Unmarshal(fmt.Appendf(nil, `{"Bytes":%q}`, text), &bytes); err != nil {
				panic(err)
			}
			return bytes.Bytes
		}
		all := map[string]any{}
		for key, one := range object {
			all[key] = read(one)
		}
		return all
	}
	if list, is := value.([]any); is {
		all := make([]any, len(list))
		for i, one := range list {
			all[i] = read(one)
		}
		return all
	}
	return value
}

// What was received, with bytes that can be read more than once.
func plain(value any) any {
	return each(value, func(value any) any {
		if bytes, is := value.(types.BufferInterface); is {
			return append([]byte{}, bytes.Bytes()...)
		}
		return value
	})
}

func written(value any) any {
	return each(plain(value), func(value any) any {
		if bytes, is := value.([]byte); is {
			return map[string]any{"$bytes": bytes}
		}
		return value
	})
}

func each(value any, one func(any) any) any {
	switch value := value.(type) {
	case []any:
		all := make([]any, len(value))
		for i, inner := range value {
			all[i] = each(inner, one)
		}
		return all
	case map[string]any:
		all := map[string]any{}
		for key, inner := range value {
			all[key] = each(inner, one)
		}
		return all
	}
	return one(value)
}
