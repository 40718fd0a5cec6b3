import io.socket.engineio.server.EngineIoServer;
import io.socket.engineio.server.EngineIoServerOptions;
import io.socket.socketio.server.SocketIoNamespace;
import io.socket.socketio.server.SocketIoServer;
import io.socket.socketio.server.SocketIoSocket;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;
import org.eclipse.jetty.websocket.server.JettyWebSocketServlet;
import org.eclipse.jetty.websocket.server.JettyWebSocketServletFactory;
import org.eclipse.jetty.websocket.server.config.JettyWebSocketServletContainerInitializer;
import org.json.JSONObject;

/** io.socket's server, a servlet on Jetty; it has no middleware, so that `/guarded` is a namespace that there is not. See CONTRACT.md. */
public class IoServer {
    private static final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();

    public static void main(String[] words) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (int n = 0; n + 1 < words.length; n += 2) given.put(words[n], words[n + 1]);
        JSONObject wanted = new JSONObject(given.get("--options"));
        EngineIoServerOptions options = EngineIoServerOptions.newFromDefault();
        options.setPingInterval(wanted.getInt("pingInterval"));
        options.setPingTimeout(wanted.getInt("pingTimeout"));
        EngineIoServer engine = new EngineIoServer(options);
        SocketIoServer io = new SocketIoServer(engine);
        for (String name : List.of("/", "/admin")) {
            SocketIoNamespace namespace = io.namespace(name);
            namespace.on("connection", args -> listen(namespace, (SocketIoSocket) args[0]));
        }

        Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(given.get("--port"))));
        ServletContextHandler context = new ServletContextHandler(ServletContextHandler.NO_SESSIONS);
        ServletHolder servlet = new ServletHolder(new EngineServlet(engine, wanted.getInt("maxHttpBufferSize")));
        servlet.setAsyncSupported(true);
        context.addServlet(servlet, "/socket.io/*");
        JettyWebSocketServletContainerInitializer.configure(context, null);
        server.setHandler(context);
        server.start();
        System.out.println("{\"listening\":" + ((ServerConnector) server.getConnectors()[0]).getLocalPort() + "}");
    }

    private static class EngineServlet extends JettyWebSocketServlet {
        private final EngineIoServer engine;
        private final int most;

        EngineServlet(EngineIoServer engine, int most) {
            this.engine = engine;
            this.most = most;
        }

        @Override
        protected void configure(JettyWebSocketServletFactory factory) {
            factory.setMaxTextMessageSize(most);
            factory.setMaxBinaryMessageSize(most);
            factory.setCreator((request, response) -> new JettySocket(engine));
        }

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            engine.handleRequest(request, response);
        }

        @Override
        protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
            engine.handleRequest(request, response);
        }
    }

    private interface Handler {
        void handle(Object value, SocketIoSocket.ReceivedByLocalAcknowledgementCallback ack);
    }

    private static void on(SocketIoSocket client, String event, Handler handler) {
        client.on(event, args -> {
            SocketIoSocket.ReceivedByLocalAcknowledgementCallback ack = null;
            if (args.length > 0 && args[args.length - 1] instanceof SocketIoSocket.ReceivedByLocalAcknowledgementCallback) {
                ack = (SocketIoSocket.ReceivedByLocalAcknowledgementCallback) args[args.length - 1];
            }
            handler.handle(args.length > 0 ? args[0] : null, ack);
        });
    }

    private static void listen(SocketIoNamespace namespace, SocketIoSocket client) {
        on(client, "echo", (text, ack) -> client.send("echo", text));
        on(client, "echo bytes", (bytes, ack) -> client.send("echo bytes", bytes));
        on(client, "ack", (text, ack) -> ack.sendAcknowledgement(text));
        on(client, "later", (text, ack) -> timer.schedule(() -> ack.sendAcknowledgement(text), 200, TimeUnit.MILLISECONDS));
        on(client, "ask", (text, ack) ->
            client.send("question", new Object[] {text}, answer -> client.send("answered", answer)));
        on(client, "join", (room, ack) -> {
            client.joinRoom((String) room);
            ack.sendAcknowledgement(room);
        });
        on(client, "news", (room, ack) -> namespace.broadcast((String) room, "news", room));
        on(client, "leave me", (close, ack) -> client.disconnect(false));
        on(client, "end", (nothing, ack) -> Runtime.getRuntime().halt(0));
    }
}
