package dev.motet;

import io.grpc.BindableService;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerBuilder;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;

/** A server of this process, on a port of its own, that does what a test says. */
final class FakeServer implements AutoCloseable {
  /** The headers of each call, in order. */
  final List<Metadata> headers = new CopyOnWriteArrayList<>();

  /** Their deadlines. */
  final List<Optional<Deadline>> deadlines = new CopyOnWriteArrayList<>();

  private final Server server;

  FakeServer(BindableService... services) throws IOException {
    this(0, InsecureServerCredentials.create(), services);
  }

  /** Port zero is any that is free. */
  FakeServer(int port, ServerCredentials credentials, BindableService... services) throws IOException {
    ServerBuilder<?> builder = Grpc.newServerBuilderForPort(port, credentials).intercept(new Listener());
    for (BindableService service : services) builder.addService(service);
    server = builder.build().start();
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  /** Closes it and starts it anew at the same address. */
  FakeServer restart(BindableService... services) throws Exception {
    int port = server.getPort();
    close();
    return new FakeServer(port, InsecureServerCredentials.create(), services);
  }

  String header(int call, String name) {
    return headers.get(call).get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER));
  }

  @Override
  public void close() throws InterruptedException {
    server.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
  }

  private final class Listener implements ServerInterceptor {
    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, A> call, Metadata sent, ServerCallHandler<Q, A> next) {
      deadlines.add(Optional.ofNullable(Context.current().getDeadline()));
      headers.add(sent);
      return next.startCall(call, sent);
    }
  }
}
