import java.nio.file.Files;
import java.nio.file.Path;

/** What this service answers. No socket is touched here, so all of it can be tested without one. */
final class Service {
    private static final String TEXT = "text/plain; charset=utf-8";
    private static final String PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8";

    /** An answer to a request. */
    static final class Answer {
        final int status;
        final String text;
        final String type;

        Answer(int status, String text, String type) {
            this.status = status;
            this.text = text;
            this.type = type;
        }
    }

    private final String name;
    private final String version;
    private final Path data;
    private final Metrics metrics = new Metrics();

    /** With the folder that outlives releases (HOTSWAP_DATA_DIR), null where nobody gave one. */
    Service(String name, String version, Path data) {
        this.name = name;
        this.version = version;
        this.data = data;
    }

    /** The answer to a request. Health checks and metrics are not counted: they are no user's. */
    Answer answer(String method, String path) {
        if (path.equals("/healthz")) {
            return health();
        }
        if (path.equals("/metrics")) {
            return new Answer(200, metrics.text(), PROMETHEUS);
        }
        long began = System.nanoTime();
        Answer answer = user(method, path);
        metrics.observe(answer.status, (System.nanoTime() - began) / 1e9);
        return answer;
    }

    /** Begin here. */
    private Answer user(String method, String path) {
        if (!method.equals("GET") && !method.equals("HEAD")) {
            return new Answer(405, "only GET and HEAD\n", TEXT);
        }
        if (path.equals("/")) {
            return new Answer(200, name + " " + version + "\n", TEXT);
        }
        return new Answer(404, "there is nothing here\n", TEXT);
    }

    /** Ask here what the service cannot do without: a check that only says 200 lets a broken release in. */
    private Answer health() {
        if (data != null && !Files.isWritable(data)) {
            return new Answer(503, "cannot write to " + data + "\n", TEXT);
        }
        return new Answer(200, "ok\n", TEXT);
    }
}
