package dev.motet;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.QuotaFailure;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.io.Serializable;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Every error of a call; in a future it is the cause of the ExecutionException or CompletionException. A function of a
 * {@link Worker} throws one, made by {@link #failure}, to fail its call with a reason of its own.
 */
public final class MotetException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final Status.Code code;
  private String reason;
  private boolean retryable;
  private Duration retryAfter;
  private Map<String, String> metadata = Map.of();
  private final ArrayList<Violation> violations = new ArrayList<>();

  /**
   * One wrong field of a request, or one bound that is used up.
   *
   * @param field the path of the field, such as plan.group.members[0].timeout, or the subject of the bound
   * @param message what is wrong with it
   */
  public record Violation(String field, String message) implements Serializable {}

  MotetException(Status.Code code, String reason, String message, Throwable cause) {
    super(message, cause);
    this.code = code;
    this.reason = reason;
  }

  /** How a worker's function fails with a reason, stable and upper case. Retryable: the same again may help. */
  public static MotetException failure(String reason, String message, boolean retryable) {
    MotetException made = new MotetException(Status.Code.OK, reason, message, null);
    made.retryable = retryable;
    return made;
  }

  /** The gRPC status; OK where the error is about a run or an agent and not about a call. */
  public Status.Code code() {
    return code;
  }

  /** Stable and upper case: the server's own, or the code's name where it gave none. */
  public String reason() {
    return reason;
  }

  /** The wrong fields, or the bounds that are used up. Empty when no field is at fault. */
  public List<Violation> violations() {
    return List.copyOf(violations);
  }

  /** How long to wait before trying again. Empty when the server did not say. */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(retryAfter);
  }

  /** Whether the same again may help. */
  public boolean retryable() {
    return retryable;
  }

  /** Facts that the server added, by name. */
  public Map<String, String> metadata() {
    return metadata;
  }

  @Override
  public String toString() {
    return "MotetException: " + reason + ": " + getMessage();
  }

  static MotetException of(Throwable cause) {
    if (cause instanceof MotetException known) return known;
    Status status = Status.fromThrowable(cause);
    String message = status.getDescription() == null ? status.getCode() + " without a word" : status.getDescription();
    if (status.getCause() != null && status.getCause().getMessage() != null) {
      message += " (" + status.getCause().getMessage() + ")";
    }
    MotetException made = new MotetException(status.getCode(), status.getCode().name(), message, cause);
    try {
      made.read(cause);
    } catch (InvalidProtocolBufferException | IllegalArgumentException unreadable) {
      made.addSuppressed(unreadable);
    }
    made.retryable = made.code == Status.Code.UNAVAILABLE || made.retryAfter != null;
    return made;
  }

  private void read(Throwable cause) throws InvalidProtocolBufferException {
    com.google.rpc.Status told = StatusProto.fromThrowable(cause);
    for (Any detail : told == null ? List.<Any>of() : told.getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        ErrorInfo info = detail.unpack(ErrorInfo.class);
        reason = info.getReason().isEmpty() ? reason : info.getReason();
        metadata = Map.copyOf(info.getMetadataMap());
      } else if (detail.is(BadRequest.class)) {
        for (var each : detail.unpack(BadRequest.class).getFieldViolationsList()) {
          violations.add(new Violation(each.getField(), each.getDescription()));
        }
      } else if (detail.is(QuotaFailure.class)) {
        for (var each : detail.unpack(QuotaFailure.class).getViolationsList()) {
          violations.add(new Violation(each.getSubject(), each.getDescription()));
        }
      } else if (detail.is(RetryInfo.class)) {
        retryAfter = Payloads.duration(detail.unpack(RetryInfo.class).getRetryDelay());
      }
    }
  }
}
