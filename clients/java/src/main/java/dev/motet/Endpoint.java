package dev.motet;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelRegistry.ProviderNotFoundException;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/**
 * Where a server is and how to speak to it. Without more than an address the connection is not encrypted. Set it up
 * before it is given to a {@link MotetClient} or a {@link Worker}.
 */
public final class Endpoint {
  /** Of the call that a function answers: calls that it makes itself are nested in that one. */
  static final Context.Key<Integer> DEPTH = Context.key("motet-depth");

  private static final Metadata.Key<String> DEPTH_HEADER = header("motet-depth");
  private static final int MAX_ANSWER = 256 << 20; // Results of groups of many members pass gRPC's 4 MiB.

  private final String address;
  private final Metadata metadata = new Metadata();
  private TlsChannelCredentials.Builder tls;

  /** An address such as 127.0.0.1:50061. */
  public Endpoint(String address) {
    this.address = address;
  }

  /** Encrypts the connection; the server is known by the roots of the JVM. */
  public Endpoint tls() {
    if (tls == null) tls = TlsChannelCredentials.newBuilder();
    return this;
  }

  /** Encrypts the connection; the server is known by the certificates of this PEM file. */
  public Endpoint tls(Path caFile) {
    tls();
    return read(() -> tls.trustManager(caFile.toFile()));
  }

  /** Encrypts the connection and shows the server a certificate. PEM files; the key is PKCS #8. */
  public Endpoint certificate(Path certificateFile, Path keyFile) {
    tls();
    return read(() -> tls.keyManager(certificateFile.toFile(), keyFile.toFile()));
  }

  /** Sends "authorization: Bearer TOKEN" with each call. Without TLS everyone on the way can read it. */
  public Endpoint token(String token) {
    return metadata("authorization", "Bearer " + token);
  }

  /** Sends a key and its value with each call. */
  public Endpoint metadata(String key, String value) {
    metadata.put(header(key), value);
    return this;
  }

  /** Connects when first used. */
  ManagedChannel open() {
    ChannelCredentials credentials = tls == null ? InsecureChannelCredentials.create() : tls.build();
    try {
      return Grpc.newChannelBuilder(address, credentials)
          .maxInboundMessageSize(MAX_ANSWER)
          // The server takes a ping each ten seconds; balancers drop what is silent for a minute or more.
          .keepAliveTime(30, TimeUnit.SECONDS)
          .keepAliveTimeout(20, TimeUnit.SECONDS)
          .intercept(new Headers())
          .build();
    } catch (IllegalArgumentException | ProviderNotFoundException wrong) {
      throw refused(address + ": " + wrong.getMessage(), wrong);
    }
  }

  private Endpoint read(Reading reading) {
    try {
      reading.read();
    } catch (IOException wrong) {
      throw refused("cannot read " + wrong.getMessage(), wrong);
    }
    return this;
  }

  private static MotetException refused(String message, Exception cause) {
    return new MotetException(Status.Code.INVALID_ARGUMENT, "INVALID_REQUEST", message, cause);
  }

  private static Metadata.Key<String> header(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private interface Reading {
    void read() throws IOException;
  }

  private final class Headers implements ClientInterceptor {
    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      // A program that Motet itself started finds the depth of its call in the environment.
      String depth = DEPTH.get() == null ? System.getenv("MOTET_DEPTH") : DEPTH.get().toString();
      return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
        @Override
        public void start(Listener<A> listener, Metadata headers) {
          headers.merge(metadata);
          if (depth != null && !depth.isEmpty()) headers.put(DEPTH_HEADER, depth);
          super.start(listener, headers);
        }
      };
    }
  }
}
