package dev.motet;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.motet.examples.ShoutWorker;
import dev.motet.v1.Lease;
import dev.motet.v1.WorkerMessage.MessageCase;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The programs of the README. */
@Timeout(60)
class ExamplesTest {
  @ParameterizedTest
  @ValueSource(strings = {"RunWords", "ShoutWorker"})
  void theProgramsOfTheReadmeAreThoseThatAreCompiled(String name) throws Exception {
    String program = Files.readString(Path.of("src/test/java/dev/motet/examples", name + ".java"));
    String shown = program.substring(program.indexOf("import"));
    assertTrue(Files.readString(Path.of("README.md")).contains("```java\n" + shown + "```"), name);
  }

  @Test
  void aWorkerThatIsAskedToEndDrainsFirst() throws Exception {
    FakeEngine engine = new FakeEngine();
    try (FakeServer server = new FakeServer(engine)) {
      Process process = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
          "-cp", System.getProperty("java.class.path"), ShoutWorker.class.getName(), server.address())
          .inheritIO().start();
      try {
        FakeEngine.Connection connection = engine.next();
        connection.welcome(1, 60_000);
        connection.lease(Lease.newBuilder()
            .setLeaseId("l1").setEpoch(1).setAgent("shout").setInput(Payloads.text("hey")).build());
        assertEquals("HEY", connection.hear(MessageCase.REPLY).getReply().getOutput().getText());
        process.destroy(); // SIGTERM.
        connection.hear(MessageCase.DRAIN);
        connection.end();
        assertTrue(process.waitFor(20, TimeUnit.SECONDS));
      } finally {
        process.destroyForcibly();
      }
    }
  }
}
