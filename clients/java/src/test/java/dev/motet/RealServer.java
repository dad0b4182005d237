package dev.motet;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** `motet serve` with a catalog, as a program of its own: MOTET_BIN, or else the one in PATH. */
final class RealServer implements AutoCloseable {
  private final Process process;
  private final Path portFile;

  RealServer(Path folder, String catalog) throws Exception {
    String program = program().orElseThrow();
    portFile = folder.resolve("port");
    Path file = Files.writeString(folder.resolve("catalog.toml"), catalog);
    process = new ProcessBuilder(
        program, "serve", file.toString(), "--address", "127.0.0.1:0", "--port-file", portFile.toString())
        .redirectErrorStream(true)
        .redirectOutput(folder.resolve("server.log").toFile())
        .start();
    long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!Files.exists(portFile) || Files.size(portFile) == 0) {
      if (!process.isAlive() || System.nanoTime() > until) {
        close();
        throw new IOException("motet serve did not start: " + Files.readString(folder.resolve("server.log")));
      }
      Thread.sleep(20);
    }
  }

  String address() throws IOException {
    return Files.readString(portFile).strip();
  }

  @Override
  public void close() throws InterruptedException {
    process.destroy();
    if (!process.waitFor(20, TimeUnit.SECONDS)) process.destroyForcibly();
  }

  static boolean isThere() {
    return program().isPresent();
  }

  private static Optional<String> program() {
    String given = System.getenv("MOTET_BIN");
    if (given != null && !given.isEmpty()) return Optional.of(given);
    return Stream.of(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
        .map(folder -> Path.of(folder, "motet"))
        .filter(Files::isExecutable)
        .map(Path::toString)
        .findFirst();
  }
}
