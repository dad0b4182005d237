package dev.motet.conformance;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * Plays the scenarios of clients/conformance with this client and worker. Knows nothing of the server but its address.
 *
 * <p>Usage: conformance.sh --address HOST:PORT --cases DIR [--only NAME]
 */
public final class Runner {
  private Runner() {}

  public static void main(String[] arguments) throws IOException {
    String address = null;
    String folder = null;
    String only = null;
    for (int at = 0; at + 1 < arguments.length; at += 2) {
      switch (arguments[at]) {
        case "--address" -> address = arguments[at + 1];
        case "--cases" -> folder = arguments[at + 1];
        case "--only" -> only = arguments[at + 1];
        default -> exit("unknown option " + arguments[at]);
      }
    }
    if (address == null || folder == null || arguments.length % 2 != 0) {
      exit("usage: conformance.sh --address HOST:PORT --cases DIR [--only NAME]");
    }
    boolean any = false;
    for (Path file : cases(Path.of(folder))) {
      JsonObject given = JsonParser.parseString(Files.readString(file)).getAsJsonObject();
      String name = given.get("name").getAsString();
      if (only != null && !only.equals(name)) continue;
      any = true;
      System.out.println(judge(address, given, name));
    }
    if (!any) exit(folder + ": there is no case " + (only == null ? "" : only));
    System.exit(0); // Whatever a case has left behind.
  }

  private static List<Path> cases(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.filter(file -> file.toString().endsWith(".json")).sorted().toList();
    }
  }

  private static JsonObject judge(String address, JsonObject given, String name) {
    JsonObject line = new JsonObject();
    line.addProperty("case", name);
    String why = null;
    try (Play play = new Play(address, given)) {
      Matching.check(given.getAsJsonObject("expect"), play.found());
    } catch (Exception | AssertionError failed) { // A case that cannot be played has failed; the others go on.
      why = failed instanceof Mismatch ? failed.getMessage() : failed.toString();
    }
    line.addProperty("ok", why == null);
    if (why != null) line.addProperty("why", why);
    return line;
  }

  private static void exit(String why) {
    System.err.println(why);
    System.exit(1);
  }
}
