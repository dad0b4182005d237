package dev.motet;

import com.google.protobuf.ByteString;
import dev.motet.v1.Payload;
import dev.motet.v1.RunResult;
import io.grpc.Status;
import java.time.Duration;

/** Values of the contract from and to those of Java. */
public final class Payloads {
  private Payloads() {}

  /** Plain text. */
  public static Payload text(String text) {
    return Payload.newBuilder().setText(text).build();
  }

  /** One JSON document, as text; it is sent to the letter. */
  public static Payload json(String document) {
    return Payload.newBuilder().setJson(document).build();
  }

  /** Raw bytes. */
  public static Payload data(byte[] data) {
    return Payload.newBuilder().setData(ByteString.copyFrom(data)).build();
  }

  /** The text, or the JSON document; of bytes what they are in UTF-8. */
  public static String string(Payload payload) {
    return switch (payload.getKindCase()) {
      case JSON -> payload.getJson();
      case DATA -> payload.getData().toStringUtf8();
      default -> payload.getText();
    };
  }

  /**
   * A run's output.
   *
   * @throws MotetException with the reason of the run's failure, when it has no output
   */
  public static Payload answer(RunResult result) {
    if (result.hasOutput() && !result.hasFailure()) return result.getOutput();
    String reason = result.hasFailure() ? result.getFailure().getReason() : "RUN_FAILED";
    throw new MotetException(Status.Code.OK, reason, result.getFailure().getMessage(), null);
  }

  static Duration duration(com.google.protobuf.Duration wire) {
    return Duration.ofSeconds(wire.getSeconds(), wire.getNanos());
  }

  static com.google.protobuf.Duration duration(Duration time) {
    return com.google.protobuf.Duration.newBuilder().setSeconds(time.getSeconds()).setNanos(time.getNano()).build();
  }
}
