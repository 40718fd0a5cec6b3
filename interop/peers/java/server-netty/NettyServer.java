import com.corundumstudio.socketio.AckCallback;
import com.corundumstudio.socketio.AckMode;
import com.corundumstudio.socketio.AuthTokenResult;
import com.corundumstudio.socketio.Configuration;
import com.corundumstudio.socketio.SocketConfig;
import com.corundumstudio.socketio.SocketIONamespace;
import com.corundumstudio.socketio.SocketIOServer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.ServerSocket;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** What CONTRACT.md says of a server, as far as netty-socketio can: each event has its types, and bytes only stand alone. */
public class NettyServer {
    private static final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();

    public static void main(String[] words) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (int n = 0; n + 1 < words.length; n += 2) given.put(words[n], words[n + 1]);
        int port = Integer.parseInt(given.get("--port"));
        JsonNode wanted = new ObjectMapper().readTree(given.get("--options"));
        // It does not tell which port it got.
        if (port == 0) {
            try (ServerSocket free = new ServerSocket(0)) {
                port = free.getLocalPort();
            }
        }
        Configuration options = new Configuration();
        options.setHostname("127.0.0.1");
        options.setPort(port);
        options.setMaxFramePayloadLength(wanted.get("maxHttpBufferSize").asInt());
        options.setMaxHttpContentLength(wanted.get("maxHttpBufferSize").asInt());
        options.setPingInterval(wanted.get("pingInterval").asInt());
        options.setPingTimeout(wanted.get("pingTimeout").asInt());
        // Else it answers what has not been answered yet when a handler ends.
        options.setAckMode(AckMode.MANUAL);
        SocketConfig socket = new SocketConfig();
        socket.setReuseAddress(true);
        socket.setTcpNoDelay(true);
        options.setSocketConfig(socket);
        SocketIOServer server = new SocketIOServer(options);
        for (SocketIONamespace namespace : List.of(server.getNamespace(""), server.addNamespace("/admin"))) listen(namespace);
        // It is asked only where there is a token.
        server.addNamespace("/guarded").addAuthTokenListener((token, client) -> new AuthTokenResult(false, "not authorized"));
        server.start();
        System.out.println("{\"listening\":" + port + "}");
    }

    static void listen(SocketIONamespace namespace) {
        namespace.addEventListener("echo", String.class, (client, text, ack) -> client.sendEvent("echo", text));
        namespace.addEventListener("echo bytes", byte[].class, (client, bytes, ack) -> client.sendEvent("echo bytes", bytes));
        namespace.addEventListener("ack", String.class, (client, text, ack) -> ack.sendAckData(text));
        namespace.addEventListener("later", String.class, (client, text, ack) ->
            timer.schedule(() -> ack.sendAckData(text), 200, TimeUnit.MILLISECONDS));
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
        namespace.addEventListener("end", Object.class, (client, nothing, ack) -> Runtime.getRuntime().halt(0));
    }
}
