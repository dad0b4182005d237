package dev.motet;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.motet.v1.RunRequest;
import io.grpc.ServerCredentials;
import io.grpc.Status;
import io.grpc.TlsServerCredentials;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.util.Base64;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Connections with certificates that are made for the test. */
@Timeout(60)
class TlsTest {
  private static final RunRequest PANEL = RunRequest.newBuilder().setGroupName("panel").build();

  @TempDir
  private static Path folder;

  private static FakeServer server;

  @BeforeAll
  static void serve() throws Exception {
    makePair("server");
    makePair("client");
    ServerCredentials credentials = TlsServerCredentials.newBuilder()
        .keyManager(file("server.pem"), file("server.key"))
        .trustManager(file("client.pem"))
        .clientAuth(TlsServerCredentials.ClientAuth.REQUIRE)
        .build();
    server = new FakeServer(0, credentials, new FakeRuns());
  }

  @AfterAll
  static void stop() throws Exception {
    server.close();
  }

  private static java.io.File file(String name) {
    return folder.resolve(name).toFile();
  }

  /** A key and a certificate that it has signed itself, in PEM files. */
  private static void makePair(String name) throws Exception {
    Path store = folder.resolve(name + ".p12");
    String keytool = Path.of(System.getProperty("java.home"), "bin", "keytool").toString();
    Process made = new ProcessBuilder(keytool, "-genkeypair", "-keystore", store.toString(), "-storepass", "motetmotet",
        "-alias", name, "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=" + name, "-ext", "san=ip:127.0.0.1",
        "-validity", "2").redirectErrorStream(true).redirectOutput(folder.resolve("keytool.log").toFile()).start();
    assertEquals(0, made.waitFor());
    KeyStore keys = KeyStore.getInstance("PKCS12");
    try (InputStream stored = Files.newInputStream(store)) {
      keys.load(stored, "motetmotet".toCharArray());
    }
    write(name + ".pem", "CERTIFICATE", keys.getCertificate(name).getEncoded());
    write(name + ".key", "PRIVATE KEY", keys.getKey(name, "motetmotet".toCharArray()).getEncoded());
  }

  private static void write(String name, String kind, byte[] content) throws Exception {
    String text = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(content);
    Files.writeString(folder.resolve(name), "-----BEGIN " + kind + "-----\n" + text + "\n-----END " + kind + "-----\n");
  }

  private static Status.Code failure(Endpoint endpoint) {
    try (MotetClient client = new MotetClient(endpoint)) {
      var thrown = assertThrows(ExecutionException.class, () -> client.run(PANEL).get(20, TimeUnit.SECONDS));
      return assertInstanceOf(MotetException.class, thrown.getCause()).code();
    }
  }

  @Test
  void bothSidesAreKnownByTheirCertificates() throws Exception {
    Endpoint endpoint = new Endpoint(server.address())
        .tls(folder.resolve("server.pem"))
        .certificate(folder.resolve("client.pem"), folder.resolve("client.key"))
        .token("secret");
    try (MotetClient client = new MotetClient(endpoint)) {
      assertEquals(FakeRuns.DONE, client.run(PANEL).get(20, TimeUnit.SECONDS));
    }
  }

  @Test
  void aServerThatTheRootsDoNotKnowIsNotSpokenTo() {
    assertEquals(Status.Code.UNAVAILABLE, failure(new Endpoint(server.address()).tls()));
  }

  @Test
  void aFileThatIsNotThereIsToldBeforeAnythingStarts() {
    Endpoint endpoint = new Endpoint(server.address());
    MotetException failure =
        assertThrows(MotetException.class, () -> endpoint.tls(folder.resolve("none.pem")));
    assertEquals(Status.Code.INVALID_ARGUMENT, failure.code());
  }

  @Test
  void aFileThatIsNoCertificateIsToldBeforeAnythingStarts() throws Exception {
    Endpoint endpoint = new Endpoint(server.address()).tls(Files.writeString(folder.resolve("no.pem"), "hello"));
    assertEquals(Status.Code.INVALID_ARGUMENT,
        assertThrows(MotetException.class, () -> new MotetClient(endpoint)).code());
  }
}
