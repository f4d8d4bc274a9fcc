import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Tests without a framework: a main that ends with 1 where one fails, and writes reports/junit.xml (JUnit's format). */
public final class ServiceTest {
    private interface Check {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws IOException {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("the page names module and version", ServiceTest::page);
        checks.put("what is not there is 404, and other methods are 405", ServiceTest::refusals);
        checks.put("users' requests are counted, and health checks are not", ServiceTest::counts);
        checks.put("it is not well without its data folder", ServiceTest::health);
        System.exit(run(checks) ? 0 : 1);
    }

    private static Service service() {
        return new Service("my-module", "1.2.3", null);
    }

    private static void page() {
        Service.Answer answer = service().answer("GET", "/");
        equal(200, answer.status);
        equal("my-module 1.2.3\n", answer.text);
    }

    private static void refusals() {
        equal(404, service().answer("GET", "/nothing").status);
        equal(405, service().answer("POST", "/").status);
    }

    private static void counts() {
        Service service = service();
        for (String path : List.of("/", "/", "/nothing", "/healthz", "/metrics")) {
            service.answer("GET", path);
        }
        List<String> lines = Arrays.asList(service.answer("GET", "/metrics").text.split("\n"));
        equal(true, lines.contains("http_requests_total{code=\"200\"} 2"));
        equal(true, lines.contains("http_requests_total{code=\"404\"} 1"));
        equal(true, lines.contains("http_request_duration_seconds_count 3"));
    }

    private static void health() throws IOException {
        Path folder = Files.createTempDirectory("data");
        equal(200, new Service("my-module", "1.2.3", folder).answer("GET", "/healthz").status);
        Files.delete(folder);
        equal(503, new Service("my-module", "1.2.3", folder).answer("GET", "/healthz").status);
    }

    private static void equal(Object wanted, Object found) {
        if (!wanted.equals(found)) {
            throw new AssertionError("wanted " + wanted + ", found " + found);
        }
    }

    private static boolean run(Map<String, Check> checks) throws IOException {
        StringBuilder cases = new StringBuilder();
        int failed = 0;
        for (Map.Entry<String, Check> each : checks.entrySet()) {
            String problem = problem(each.getValue());
            failed += problem == null ? 0 : 1;
            System.out.println((problem == null ? "ok    " : "FAIL  ") + each.getKey());
            cases.append("  <testcase classname=\"ServiceTest\" name=\"").append(escaped(each.getKey())).append('"');
            if (problem == null) {
                cases.append("/>\n");
            } else {
                System.out.println("      " + problem);
                cases.append("><failure message=\"").append(escaped(problem)).append("\"/></testcase>\n");
            }
        }
        String head = "<testsuite name=\"my-module\" tests=\"" + checks.size() + "\" failures=\"" + failed + "\">\n";
        Files.createDirectories(Path.of("reports"));
        Files.writeString(Path.of("reports", "junit.xml"), head + cases + "</testsuite>\n");
        System.out.println(checks.size() + " tests, " + failed + " failed");
        return failed == 0;
    }

    private static String problem(Check check) {
        try {
            check.run();
            return null;
        } catch (Exception | AssertionError error) {
            return error.toString();
        }
    }

    private static String escaped(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace("\"", "&quot;");
    }
}
