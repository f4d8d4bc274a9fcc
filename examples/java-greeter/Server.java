import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/** A web service that greets, on 127.0.0.1 and the port that the environment variable PORT names. */
public final class Server {
    private static final String VERSION = System.getenv().getOrDefault("HOTSWAP_VERSION", "development");
    private static final String DATA = System.getenv("HOTSWAP_DATA_DIR");
    private static final double[] BUCKETS = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5};
    private static final long QUIET_NANOS = 1_000_000_000L;
    private static final long LONGEST_GRACE_NANOS = 5_000_000_000L;
    private static final long LONGEST_DRAIN_NANOS = 25_000_000_000L;

    private final Map<Integer, Long> requests = new TreeMap<>();
    private final long[] counts = new long[BUCKETS.length + 1];
    private double seconds;
    private final AtomicLong lastRequest = new AtomicLong(System.nanoTime());
    private final AtomicInteger inFlight = new AtomicInteger();
    private volatile boolean draining;

    public static void main(String[] arguments) throws IOException {
        String port = System.getenv("PORT");
        if (port == null) {
            System.err.println("PORT is not set; the manifest needs handover: port");
            System.exit(2);
        }
        new Server().run(Integer.parseInt(port));
    }

    private void run(int port) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 1024);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/", counted(this::greet));
        server.createContext("/healthz", counted(this::health));
        server.createContext("/metrics", counted(this::metrics));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> drain(server)));
        server.start();
        System.out.println("java-greeter " + VERSION + " serves on port " + port);
    }

    private HttpHandler counted(HttpHandler handler) {
        return exchange -> {
            inFlight.incrementAndGet();
            try {
                handler.handle(exchange);
            } finally {
                inFlight.decrementAndGet();
            }
        };
    }

    /** Answers what still comes, each with Connection: close, until nothing has come for a while; then stops. */
    private void drain(HttpServer server) {
        draining = true;
        long began = System.nanoTime();
        lastRequest.accumulateAndGet(began, Math::max);
        while (isWaitedFor(System.nanoTime(), began)) {
            LockSupport.parkNanos(QUIET_NANOS / 20);
        }
        server.stop(0); // with a delay, JDK 17 waits for all of it even when nothing is in flight
        System.out.println("java-greeter " + VERSION + " ends");
    }

    private boolean isWaitedFor(long now, long began) {
        if (inFlight.get() > 0) {
            return now - began < LONGEST_DRAIN_NANOS;
        }
        return now - lastRequest.get() < QUIET_NANOS && now - began < LONGEST_GRACE_NANOS;
    }

    private void greet(HttpExchange exchange) throws IOException {
        long began = System.nanoTime();
        int status = exchange.getRequestURI().getPath().equals("/") ? 200 : 404;
        String text = status == 200 ? "Hello from Java!" : "there is nothing here";
        answer(exchange, status, text + " (version " + VERSION + ")\n", "text/plain; charset=utf-8");
        count(status, (System.nanoTime() - began) / 1e9);
    }

    /** Well while the data folder can be written, which is all that this service depends on. */
    private void health(HttpExchange exchange) throws IOException {
        boolean well = DATA == null || Files.isWritable(Path.of(DATA));
        String text = well ? "ok" : "cannot write to " + DATA;
        answer(exchange, well ? 200 : 503, text + " (version " + VERSION + ")\n", "text/plain; charset=utf-8");
    }

    private void metrics(HttpExchange exchange) throws IOException {
        answer(exchange, 200, exposition(), "text/plain; version=0.0.4; charset=utf-8");
    }

    private void answer(HttpExchange exchange, int status, String text, String type) throws IOException {
        lastRequest.set(System.nanoTime());
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.getRequestBody().readAllBytes();
        exchange.getResponseHeaders().set("Content-Type", type);
        exchange.getResponseHeaders().set("X-Module-Version", VERSION);
        if (draining) {
            exchange.getResponseHeaders().set("Connection", "close");
        }
        boolean head = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(status, head ? -1 : body.length);
        if (!head) {
            exchange.getResponseBody().write(body);
        }
        exchange.close();
    }

    private synchronized void count(int status, double took) {
        requests.merge(status, 1L, Long::sum);
        int bucket = 0;
        while (bucket < BUCKETS.length && took > BUCKETS[bucket]) {
            bucket++;
        }
        counts[bucket]++;
        seconds += took;
    }

    private synchronized String exposition() throws IOException {
        StringBuilder out = new StringBuilder("# TYPE http_requests_total counter\n");
        requests.forEach((status, n) -> out.append("http_requests_total{code=\"" + status + "\"} " + n + "\n"));
        out.append("# TYPE http_request_duration_seconds histogram\n");
        long total = 0;
        for (int i = 0; i <= BUCKETS.length; i++) {
            total += counts[i];
            String bound = i < BUCKETS.length ? String.valueOf(BUCKETS[i]) : "+Inf";
            out.append("http_request_duration_seconds_bucket{le=\"" + bound + "\"} " + total + "\n");
        }
        out.append("http_request_duration_seconds_count " + total + "\n");
        out.append(String.format(Locale.ROOT, "http_request_duration_seconds_sum %.6f%n", seconds));
        gauge(out, "process_start_time_seconds", ManagementFactory.getRuntimeMXBean().getStartTime() / 1000.0);
        gauge(out, "process_resident_memory_bytes", residentBytes());
        out.append("# TYPE process_cpu_seconds_total counter\n");
        out.append(String.format(Locale.ROOT, "process_cpu_seconds_total %.3f%n", cpuSeconds()));
        return out.toString();
    }

    private static void gauge(StringBuilder out, String name, double value) {
        out.append("# TYPE " + name + " gauge\n" + name + String.format(Locale.ROOT, " %.3f%n", value));
    }

    private static double cpuSeconds() {
        return ProcessHandle.current().info().totalCpuDuration().map(d -> d.toNanos() / 1e9).orElse(0.0);
    }

    private static double residentBytes() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmRSS:")) {
                return Double.parseDouble(line.replaceAll("[^0-9]", "")) * 1024;
            }
        }
        return 0;
    }
}
