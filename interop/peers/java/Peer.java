// The driven client on io.socket's socket.io-client, 1.x and 2.x alike; see interop/CONTRACT.md.

import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Manager;
import io.socket.client.Socket;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

public class Peer {
    /** The sockets of each connection by their namespaces. */
    private static final Map<String, Map<String, Socket>> connections = new HashMap<>();
    private static final PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    public static void main(String[] words) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            JSONObject command = new JSONObject(line);
            String name = command.getString("to");
            switch (command.getString("do")) {
                case "open": open(name, command); break;
                case "emit": emit(name, command); break;
                case "close": main(name).disconnect(); break;
                default: throw new IllegalArgumentException(line);
            }
        }
        System.exit(0);
    }

    private static Socket main(String name) {
        return connections.get(name).values().iterator().next();
    }

    private static void open(String name, JSONObject command) throws Exception {
        IO.Options options = new IO.Options();
        options.forceNew = true;
        options.reconnection = command.optBoolean("reconnection");
        options.reconnectionDelay = 50;
        options.reconnectionDelayMax = 200;
        JSONArray transports = command.optJSONArray("transports");
        if (transports != null) options.transports = texts(transports).toArray(new String[0]);
        JSONObject auth = command.optJSONObject("auth");
        if (auth != null) authorize(options, auth);

        Map<String, Socket> sockets = new java.util.LinkedHashMap<>();
        Manager manager = null;
        for (String namespace : texts(command.getJSONArray("namespaces"))) {
            Socket socket;
            if (manager == null) {
                socket = IO.socket(command.getString("url") + namespace, options);
                manager = socket.io();
            } else {
                socket = manager.socket(namespace, options);
            }
            sockets.put(namespace, socket);
            listen(name, namespace, socket, texts(command.getJSONArray("events")));
        }
        connections.put(name, sockets);
        for (Socket socket : sockets.values()) socket.connect();
    }

    /** Version 1 has no `auth`: there it is the query. */
    private static void authorize(IO.Options options, JSONObject auth) throws Exception {
        Map<String, String> texts = new HashMap<>();
        for (Iterator<?> keys = auth.keys(); keys.hasNext(); ) {
            String key = (String) keys.next();
            texts.put(key, auth.getString(key));
        }
        try {
            Field field = IO.Options.class.getField("auth");
            field.set(options, texts);
        } catch (NoSuchFieldException version1) {
            List<String> pairs = new ArrayList<>();
            texts.forEach((key, value) -> pairs.add(key + "=" + value));
            options.query = String.join("&", pairs);
        }
    }

    private static void listen(String name, String namespace, Socket socket, List<String> events) {
        socket.on(Socket.EVENT_CONNECT, args -> fact("connected", name, namespace, "id", socket.id()));
        socket.on(Socket.EVENT_DISCONNECT, args -> fact("disconnected", name, namespace, "reason", args[0]));
        // Version 1 tells of a refusal by `error`.
        for (String event : new String[] {"connect_error", "error"}) {
            socket.on(event, args -> fact("refused", name, namespace, "why", String.valueOf(args[0])));
        }
        for (String event : events) {
            socket.on(event, args -> {
                int count = args.length;
                if (count > 0 && args[count - 1] instanceof Ack) {
                    Object[] answer = java.util.Arrays.copyOf(args, count - 1);
                    ((Ack) args[count - 1]).call(answer);
                    args = answer;
                }
                fact("event", name, namespace, "event", event, "args", written(args));
            });
        }
    }

    private static void emit(String name, JSONObject command) throws JSONException {
        String namespace = command.getString("namespace");
        Socket socket = connections.get(name).get(namespace);
        String event = command.getString("event");
        int times = command.optInt("times", 1);
        for (int n = 0; n < times; n++) {
            JSONArray given = command.optJSONArray("args");
            Object[] args = given == null ? new Object[] {n} : read(given);
            if (!command.has("ack")) {
                socket.emit(event, args);
                continue;
            }
            int id = command.getInt("ack");
            socket.emit(event, args, answer -> fact("acked", name, namespace, "id", id, "args", written(answer)));
        }
    }

    private static void fact(String kind, String name, String namespace, Object... fields) {
        try {
            JSONObject fact = new JSONObject().put("of", name).put("namespace", namespace);
            for (int i = 0; i < fields.length; i += 2) fact.put((String) fields[i], fields[i + 1]);
            String line = new JSONObject().put(kind, fact).toString();
            synchronized (out) {
                out.println(line);
                out.flush();
            }
        } catch (JSONException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private static List<String> texts(JSONArray array) throws JSONException {
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < array.length(); i++) texts.add(array.getString(i));
        return texts;
    }

    // --- Bytes are written {"$bytes": base64} ---

    private static Object[] read(JSONArray array) throws JSONException {
        Object[] values = new Object[array.length()];
        for (int i = 0; i < values.length; i++) values[i] = readOne(array.get(i));
        return values;
    }

    private static Object readOne(Object value) throws JSONException {
        if (value instanceof JSONArray) {
            JSONArray array = new JSONArray();
            for (Object one : read((JSONArray) value)) array.put(one);
            return array;
        }
        if (!(value instanceof JSONObject)) return value;
        JSONObject object = (JSONObject) value;
        if (object.has("$bytes")) return Base64.getDecoder().decode(object.getString("$bytes"));
        JSONObject copy = new JSONObject();
        for (Iterator<?> keys = object.keys(); keys.hasNext(); ) {
            String key = (String) keys.next();
            copy.put(key, readOne(object.get(key)));
        }
        return copy;
    }

    private static JSONArray written(Object[] values) {
        JSONArray array = new JSONArray();
        for (Object value : values) array.put(writtenOne(value));
        return array;
    }

    private static Object writtenOne(Object value) {
        try {
            if (value == null) return JSONObject.NULL;
            if (value instanceof byte[]) {
                return new JSONObject().put("$bytes", Base64.getEncoder().encodeToString((byte[]) value));
            }
            if (value instanceof JSONArray) {
                JSONArray array = (JSONArray) value;
                Object[] values = new Object[array.length()];
                for (int i = 0; i < values.length; i++) values[i] = array.get(i);
                return written(values);
            }
            if (!(value instanceof JSONObject)) return value;
            JSONObject object = (JSONObject) value;
            JSONObject copy = new JSONObject();
            for (Iterator<?> keys = object.keys(); keys.hasNext(); ) {
                String key = (String) keys.next();
                copy.put(key, writtenOne(object.get(key)));
            }
            return copy;
        } catch (JSONException impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
