package dev.motet;

import com.google.protobuf.Struct;
import dev.motet.v1.Lease;
import dev.motet.v1.Payload;
import dev.motet.v1.Usage;
import io.grpc.Context;

/** What a worker's function is asked. */
public final class Call {
  private final Lease lease;
  private final Context context;
  private final Reports reports;
  volatile Usage usage;
  volatile Struct metadata;

  interface Reports {
    void send(Payload report) throws InterruptedException;
  }

  Call(Lease lease, Context context, Reports reports) {
    this.lease = lease;
    this.context = context;
    this.reports = reports;
  }

  /** All that the server said: input, variables, time left, run, session, ... */
  public Lease lease() {
    return lease;
  }

  /** The input as a string; see {@link Payloads#string}. */
  public String text() {
    return Payloads.string(lease.getInput());
  }

  /** Whether the answer is of no use any more. */
  public boolean isCancelled() {
    return context.isCancelled();
  }

  /** Tells how far the call is. Waits while the server reads slower than is reported. */
  public void report(Payload report) throws InterruptedException {
    reports.send(report);
  }

  /** Says what the call has used, however it ends. Without it: one call of unknown price. */
  public void used(Usage usage) {
    this.usage = usage;
  }

  /** What is kept with the answer. */
  public void metadata(Struct metadata) {
    this.metadata = metadata;
  }
}
