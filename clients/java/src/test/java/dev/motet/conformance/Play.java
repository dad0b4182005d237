package dev.motet.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import dev.motet.MotetClient;
import dev.motet.MotetException;
import dev.motet.MotetStream;
import dev.motet.Payloads;
import dev.motet.v1.CancelRunResponse;
import dev.motet.v1.Event;
import dev.motet.v1.GetRunResponse;
import dev.motet.v1.ListAgentsResponse;
import dev.motet.v1.MapInput;
import dev.motet.v1.MapRunResponse;
import dev.motet.v1.Run;
import dev.motet.v1.RunRequest;
import dev.motet.v1.RunResponse;
import dev.motet.v1.RunResult;
import dev.motet.v1.StartRunResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** Plays one case. */
final class Play implements AutoCloseable {
  private static final int LONGEST = 60; // Seconds of a case.

  private final MotetClient connection;
  private final MotetClient client;
  private final JsonObject given;
  private final Offered worker;
  private final JsonObject found = new JsonObject();

  Play(String address, JsonObject given) throws InterruptedException {
    this.given = given;
    connection = new MotetClient(address);
    client = given.has("deadline_ms")
        ? connection.within(Duration.ofMillis(given.get("deadline_ms").getAsLong()))
        : connection;
    worker = given.has("worker") ? new Offered(address, given.getAsJsonObject("worker")) : null;
  }

  JsonObject found() throws Exception {
    try {
      operate(given.get("operation").getAsString());
    } catch (MotetException failed) {
      JsonObject error = new JsonObject();
      error.addProperty("code", failed.code().name());
      error.addProperty("reason", failed.reason());
      error.addProperty("message", failed.getMessage());
      JsonArray fields = new JsonArray();
      failed.violations().forEach(each -> fields.add(each.field()));
      error.add("fields", fields);
      found.add("error", error);
    } catch (CancellationException ours) {
      JsonObject error = new JsonObject();
      error.addProperty("code", "CANCELLED");
      found.add("error", error);
    }
    return found;
  }

  @Override
  public void close() throws InterruptedException {
    connection.close();
    if (worker != null) worker.close();
  }

  private void operate(String operation) throws Exception {
    switch (operation) {
      case "run" -> response(RunResponse.newBuilder().setResult(wait(client.run(request()))).build(), "result");
      case "stream", "worker" -> result(read(client.stream(request()), seen -> isKind(seen, "abort_after")));
      case "start_and_watch" -> result(read(client.watch(start(), 0), seen -> false));
      case "watch_resume" -> {
        String runId = start();
        JsonArray events = events();
        try {
          read(client.watch(runId, 0), seen -> events.size() == given.get("break_after").getAsInt());
        } catch (CancellationException ours) {
          long last = events.get(events.size() - 1).getAsJsonObject().get("sequence").getAsLong();
          result(read(client.watch(runId, last), seen -> false));
        }
      }
      case "cancel_run" -> {
        String runId = start();
        try {
          read(client.watch(runId, 0), seen -> isKind(seen, "cancel_after"));
        } catch (CancellationException ours) {
          Run run = wait(client.cancel(runId));
          response(CancelRunResponse.newBuilder().setRun(run).build(), "");
          result(run.getResult());
        }
      }
      case "map" -> map();
      case "get_missing" ->
        response(GetRunResponse.newBuilder().setRun(wait(client.get("run_missing"))).build(), "");
      case "list_agents" ->
        response(ListAgentsResponse.newBuilder().addAllAgents(wait(client.agents())).build(), "");
      default -> throw new Mismatch("operation: this runner does not know " + operation);
    }
  }

  private RunRequest request() throws InvalidProtocolBufferException {
    RunRequest.Builder request = RunRequest.newBuilder();
    JsonFormat.parser().merge(given.get("request").toString(), request);
    return request.build();
  }

  private String start() throws Exception {
    StartRunResponse started = wait(client.start(request()));
    response(started, "");
    return started.getRunId();
  }

  private void map() throws Exception {
    List<MapInput> inputs = new ArrayList<>();
    for (JsonElement text : given.getAsJsonArray("inputs")) {
      String id = String.valueOf(inputs.size());
      inputs.add(MapInput.newBuilder().setId(id).setInput(Payloads.text(text.getAsString())).build());
    }
    JsonArray answers = new JsonArray();
    MotetStream<MapRunResponse, Long> stream = client.map(request(), inputs, 0);
    wait(stream.forEach(answer -> {
      JsonObject told = new JsonObject();
      told.addProperty("key", answer.getId());
      if (answer.getResult().hasOutput()) told.add("output", form(answer.getResult().getOutput()));
      answers.add(told);
    }));
    found.add("answers", answers);
  }

  /** Reads to the end, or cancels the stream after an event: then the wait ends with a CancellationException. */
  private RunResult read(MotetStream<Event, RunResult> stream, Predicate<JsonObject> last) throws Exception {
    JsonArray events = events();
    return wait(stream.forEach(event -> {
      JsonObject seen = form(event);
      events.add(seen);
      if (last.test(seen)) stream.result().cancel(true);
    }));
  }

  private JsonArray events() {
    if (!found.has("events")) found.add("events", new JsonArray());
    return found.getAsJsonArray("events");
  }

  private boolean isKind(JsonObject event, String setting) {
    return given.has(setting)
        && Matching.kind(event).equals(given.getAsJsonObject(setting).get("event").getAsString());
  }

  private void result(RunResult result) {
    found.add("result", form(result));
  }

  private void response(Message response, String result) {
    JsonObject told = form(response);
    found.add("response", told);
    if (!result.isEmpty()) found.add("result", told.get(result));
  }

  private static JsonObject form(Message message) {
    try {
      return JsonParser.parseString(JsonFormat.printer().print(message)).getAsJsonObject();
    } catch (InvalidProtocolBufferException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  private static <T> T wait(Future<T> future) throws Exception {
    try {
      return future.get(LONGEST, TimeUnit.SECONDS);
    } catch (ExecutionException failed) {
      throw failed.getCause() instanceof Exception known ? known : failed;
    }
  }
}
