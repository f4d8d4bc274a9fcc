import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/** What /metrics says, in Prometheus' text format. These names are the ones that HotSwap judges a rollout by. */
final class Metrics {
    private static final double[] BUCKETS = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5};

    private final Map<Integer, Long> answers = new TreeMap<>();
    private final long[] within = new long[BUCKETS.length];
    private long count;
    private double sum;

    /** Count one answer and the seconds that it took. */
    synchronized void observe(int status, double seconds) {
        answers.merge(status, 1L, Long::sum);
        count++;
        sum += seconds;
        for (int i = 0; i < BUCKETS.length; i++) {
            within[i] += seconds <= BUCKETS[i] ? 1 : 0;
        }
    }

    /** The whole page. */
    synchronized String text() {
        StringBuilder out = new StringBuilder("# TYPE http_requests_total counter\n");
        answers.forEach((code, n) -> out.append("http_requests_total{code=\"" + code + "\"} " + n + "\n"));
        out.append("# TYPE http_request_duration_seconds histogram\n");
        for (int i = 0; i < BUCKETS.length; i++) {
            out.append("http_request_duration_seconds_bucket{le=\"" + BUCKETS[i] + "\"} " + within[i] + "\n");
        }
        out.append("http_request_duration_seconds_bucket{le=\"+Inf\"} " + count + "\n");
        out.append("http_request_duration_seconds_count " + count + "\n");
        out.append(String.format(Locale.ROOT, "http_request_duration_seconds_sum %.6f\n", sum));
        value(out, "process_cpu_seconds_total", "counter", cpuSeconds());
        value(out, "process_resident_memory_bytes", "gauge", residentBytes());
        value(out, "process_start_time_seconds", "gauge", ManagementFactory.getRuntimeMXBean().getStartTime() / 1e3);
        return out.toString();
    }

    private static void value(StringBuilder out, String name, String type, double value) {
        out.append("# TYPE " + name + " " + type + "\n" + name + String.format(Locale.ROOT, " %.3f\n", value));
    }

    private static double cpuSeconds() {
        return ProcessHandle.current().info().totalCpuDuration().map(each -> each.toNanos() / 1e9).orElse(0.0);
    }

    private static double residentBytes() {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                if (line.startsWith("VmRSS:")) {
                    return Double.parseDouble(line.replaceAll("[^0-9]", "")) * 1024;
                }
            }
        } catch (IOException error) {
            return 0;
        }
        return 0;
    }
}
