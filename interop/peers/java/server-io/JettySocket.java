import io.socket.engineio.server.EngineIoServer;
import io.socket.engineio.server.EngineIoWebSocket;
import io.socket.engineio.server.utils.ParseQS;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.eclipse.jetty.websocket.api.Session;
import org.eclipse.jetty.websocket.api.WebSocketListener;

/** Jetty's WebSocket as the one that io.socket's server wants. */
public class JettySocket extends EngineIoWebSocket implements WebSocketListener {
    private final EngineIoServer engine;
    private Session session;

    JettySocket(EngineIoServer engine) {
        this.engine = engine;
    }

    @Override
    public Map<String, String> getQuery() {
        return ParseQS.decode(session.getUpgradeRequest().getQueryString());
    }

    @Override
    public Map<String, List<String>> getConnectionHeaders() {
        return session.getUpgradeRequest().getHeaders();
    }

    @Override
    public void write(String text) throws IOException {
        session.getRemote().sendString(text);
    }

    @Override
    public void write(byte[] bytes) throws IOException {
        session.getRemote().sendBytes(ByteBuffer.wrap(bytes));
    }

    @Override
    public void close() {
        session.close();
    }

    @Override
    public void onWebSocketConnect(Session session) {
        this.session = session;
        engine.handleWebSocket(this);
    }

    @Override
    public void onWebSocketText(String text) {
        emit("message", text);
    }

    @Override
    public void onWebSocketBinary(byte[] bytes, int from, int count) {
        emit("message", (Object) Arrays.copyOfRange(bytes, from, from + count));
    }

    @Override
    public void onWebSocketClose(int code, String reason) {
        emit("close");
    }

    @Override
    public void onWebSocketError(Throwable cause) {
        emit("error", "websocket error", cause.getMessage());
    }
}
