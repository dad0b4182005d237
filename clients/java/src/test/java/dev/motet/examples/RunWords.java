package dev.motet.examples;

import dev.motet.MotetClient;
import dev.motet.Payloads;
import dev.motet.v1.RunRequest;
import dev.motet.v1.RunResult;
import java.time.Duration;

public final class RunWords {
  public static void main(String[] arguments) throws Exception {
    RunRequest request = RunRequest.newBuilder().setGroupName("words").setInput(Payloads.text("hello")).build();
    try (MotetClient client = new MotetClient(arguments[0])) {
      RunResult result = client.within(Duration.ofMinutes(1)).run(request).get();
      System.out.println(Payloads.string(Payloads.answer(result))); // Throws when there is no answer.
      client.stream(request)
          .forEach(event -> System.out.println(event.getSequence() + " " + event.getDetailCase()))
          .get();
    }
  }
}
