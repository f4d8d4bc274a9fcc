import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/** Serves on 127.0.0.1 and PORT until SIGTERM, and then ends what it has begun. */
public final class Main {
    private static final long QUIET = 1_000_000_000L; // ns without a request, after which nothing more is expected
    private static final long LONGEST_GRACE = 5_000_000_000L;
    private static final long LONGEST_DRAIN = 25_000_000_000L; // below the manifest's drain.timeout

    private final Service service;
    private final AtomicLong lastRequest = new AtomicLong(System.nanoTime());
    private final AtomicInteger inFlight = new AtomicInteger();
    private volatile boolean draining;

    private Main(Service service) {
        this.service = service;
    }

    public static void main(String[] arguments) throws IOException {
        Map<String, String> environment = System.getenv();
        String data = environment.get("HOTSWAP_DATA_DIR");
        Service service = new Service(
                environment.getOrDefault("HOTSWAP_MODULE", "my-module"),
                environment.getOrDefault("HOTSWAP_VERSION", "development"),
                data == null ? null : Path.of(data));
        new Main(service).serve(Integer.parseInt(environment.getOrDefault("PORT", "8080")));
    }

    private void serve(int port) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 1024);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/", this::handle);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> drain(server)));
        server.start();
        System.out.println("serves on port " + port + ", process " + ProcessHandle.current().pid());
    }

    private void handle(HttpExchange exchange) throws IOException {
        inFlight.incrementAndGet();
        try {
            lastRequest.set(System.nanoTime());
            exchange.getRequestBody().readAllBytes();
            String method = exchange.getRequestMethod();
            Service.Answer answer = service.answer(method, exchange.getRequestURI().getPath());
            byte[] body = answer.text.getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", answer.type);
            if (draining) {
                exchange.getResponseHeaders().set("Connection", "close");
            }
            boolean head = method.equals("HEAD");
            exchange.sendResponseHeaders(answer.status, head ? -1 : body.length);
            if (!head) {
                exchange.getResponseBody().write(body);
            }
        } finally {
            exchange.close();
            inFlight.decrementAndGet();
        }
    }

    /** Answers what still comes, each with Connection: close, until nothing has come for a while. */
    private void drain(HttpServer server) {
        draining = true;
        long began = System.nanoTime();
        lastRequest.accumulateAndGet(began, Math::max);
        while (isWaitedFor(System.nanoTime(), began)) {
            LockSupport.parkNanos(QUIET / 20);
        }
        server.stop(0); // with a delay, Java 17 waits for all of it even when nothing is in flight
        System.out.println("ended");
        System.out.flush();
        Runtime.getRuntime().halt(0); // the exit code of an orderly end; by itself it would be 143 (SIGTERM)
    }

    private boolean isWaitedFor(long now, long began) {
        if (inFlight.get() > 0) {
            return now - began < LONGEST_DRAIN;
        }
        return now - lastRequest.get() < QUIET && now - began < LONGEST_GRACE;
    }
}
