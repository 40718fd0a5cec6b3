import com.corundumstudio.socketio.AckCallback;
import com.corundumstudio.socketio.Configuration;
import com.corundumstudio.socketio.SocketConfig;
import com.corundumstudio.socketio.SocketIONamespace;
import com.corundumstudio.socketio.SocketIOServer;
import java.net.ServerSocket;
import java.util.List;

/** What CONTRACT.md says of a server, as far as netty-socketio can: each event has its types, and bytes only stand alone. */
public class NettyServer {
    public static void main(String[] words) throws Exception {
        int port = 0;
        for (int n = 0; n + 1 < words.length; n += 2) {
            if (words[n].equals("--port")) port = Integer.parseInt(words[n + 1]);
        }
        // It does not tell which port it got.
        if (port == 0) {
            try (ServerSocket free = new ServerSocket(0)) {
                port = free.getLocalPort();
            }
        }
        Configuration options = new Configuration();
        options.setHostname("127.0.0.1");
        options.setPort(port);
        options.setMaxFramePayloadLength(4_000_000);
        options.setMaxHttpContentLength(4_000_000);
        SocketConfig socket = new SocketConfig();
        socket.setReuseAddress(true);
        socket.setTcpNoDelay(true);
        options.setSocketConfig(socket);
        SocketIOServer server = new SocketIOServer(options);
        for (SocketIONamespace namespace : List.of(server.getNamespace(""), server.addNamespace("/admin"))) listen(namespace);
        server.start();
        System.out.println("{\"listening\":" + port + "}");
    }

    static void listen(SocketIONamespace namespace) {
        namespace.addEventListener("echo", String.class, (client, text, ack) -> client.sendEvent("echo", text));
        namespace.addEventListener("echo bytes", byte[].class, (client, bytes, ack) -> client.sendEvent("echo bytes", bytes));
        namespace.addEventListener("ack", String.class, (client, text, ack) -> ack.sendAckData(text));
        namespace.addEventListener("ask", String.class, (client, text, none) ->
            client.sendEvent("question", new AckCallback<String>(String.class) {
                @Override
                public void onSuccess(String answer) {
                    client.sendEvent("answered", answer);
                }
            }, text));
        namespace.addEventListener("join", String.class, (client, room, ack) -> {
            client.joinRoom(room);
            ack.sendAckData(room);
        });
        namespace.addEventListener("news", String.class, (client, room, ack) ->
            namespace.getRoomOperations(room).sendEvent("news", room));
        namespace.addEventListener("leave me", Boolean.class, (client, close, ack) -> client.disconnect());
    }
}
