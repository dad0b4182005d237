package dev.motet.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;

/** What a scenario expects, compared with what was found, all in the JSON form of protobuf. Knows no client. */
final class Matching {
  private static final int LONGEST = 200;
  private static final Set<String> KINDS = Set.of("runStarted", "groupStarted", "memberStarted", "memberProgress",
      "memberEnded", "groupEnded", "runEnded", "attemptStarted", "attemptEnded");

  private Matching() {}

  /** What was found may have result, response, events, answers and error. */
  static void check(JsonObject expect, JsonObject found) {
    if (!expect.has("error") && found.has("error")) throw new Mismatch("failed: " + quoted(found.get("error")));
    if (expect.has("error")) error(expect.getAsJsonObject("error"), found);
    for (String part : List.of("result", "response")) {
      if (!expect.has(part)) continue;
      if (!found.has(part)) throw new Mismatch(part + ": there is none");
      subset(expect.get(part), found.get(part), part);
    }
    if (expect.has("events")) events(expect.getAsJsonObject("events"), array(found, "events"));
    if (expect.has("answers")) answers(expect.getAsJsonArray("answers"), array(found, "answers"));
  }

  /** Which of an event's details is set. */
  static String kind(JsonObject event) {
    return event.keySet().stream().filter(KINDS::contains).findFirst().orElse("");
  }

  static void subset(JsonElement expected, JsonElement found, String path) {
    if (expected instanceof JsonObject object && object.keySet().equals(Set.of("$exists"))) return;
    if (expected instanceof JsonObject object && object.keySet().equals(Set.of("$matches"))) {
      String expression = object.get("$matches").getAsString();
      boolean text = found instanceof JsonPrimitive value && value.isString();
      if (!text || !Pattern.compile(expression).matcher(found.getAsString()).find()) {
        throw new Mismatch(path + ": expected text with " + expression + ", found " + quoted(found));
      }
    } else if (expected instanceof JsonObject object) {
      if (!(found instanceof JsonObject other)) {
        throw new Mismatch(path + ": expected an object, found " + quoted(found));
      }
      object.entrySet().forEach(each -> {
        String inside = path + "." + each.getKey();
        if (!other.has(each.getKey())) {
          throw new Mismatch(inside + ": expected " + quoted(each.getValue()) + ", found nothing");
        }
        subset(each.getValue(), other.get(each.getKey()), inside);
      });
    } else if (expected instanceof JsonArray list) {
      if (!(found instanceof JsonArray other) || other.size() != list.size()) {
        throw new Mismatch(path + ": expected " + list.size() + " elements, found " + quoted(found));
      }
      for (int at = 0; at < list.size(); at++) subset(list.get(at), other.get(at), path + "[" + at + "]");
    } else if (!expected.equals(found)) {
      throw new Mismatch(path + ": expected " + quoted(expected) + ", found " + quoted(found));
    }
  }

  private static void error(JsonObject expected, JsonObject found) {
    if (!found.has("error")) throw new Mismatch("error: expected " + quoted(expected) + ", and the call succeeded");
    JsonObject error = found.getAsJsonObject("error");
    for (String name : List.of("code", "reason")) {
      if (expected.has(name) && !expected.get(name).equals(error.get(name))) {
        throw new Mismatch("error." + name + ": expected " + expected.get(name) + ", found " + quoted(error));
      }
    }
    if (expected.has("field") && !array(error, "fields").contains(expected.get("field"))) {
      throw new Mismatch("error.field: expected " + expected.get("field") + ", found " + quoted(error));
    }
  }

  private static void events(JsonObject expected, JsonArray events) {
    List<String> kinds = new ArrayList<>();
    List<Long> numbers = new ArrayList<>();
    for (JsonElement event : events) {
      kinds.add(kind(event.getAsJsonObject()));
      numbers.add(event.getAsJsonObject().get("sequence").getAsLong());
    }
    Iterator<String> rest = kinds.iterator();
    for (JsonElement wanted : array(expected, "kinds")) {
      boolean seen = false;
      while (!seen && rest.hasNext()) seen = rest.next().equals(wanted.getAsString());
      if (!seen) throw new Mismatch("events.kinds: " + wanted + " is missing, or not in this order, in " + kinds);
    }
    String last = kinds.isEmpty() ? "no event" : kinds.get(kinds.size() - 1);
    if (expected.has("last") && !expected.get("last").getAsString().equals(last)) {
      throw new Mismatch("events.last: expected " + expected.get("last") + ", found " + last);
    }
    boolean contiguous = !numbers.isEmpty();
    for (int at = 0; at < numbers.size(); at++) contiguous &= numbers.get(at) == at + 1;
    if (expected.has("contiguous") && expected.get("contiguous").getAsBoolean() && !contiguous) {
      throw new Mismatch("events.contiguous: found the numbers " + numbers);
    }
  }

  private static void answers(JsonArray expected, JsonArray found) {
    if (expected.size() != found.size()) {
      throw new Mismatch("answers: expected " + expected.size() + ", found " + quoted(found));
    }
    List<JsonElement> left = new ArrayList<>(found.asList());
    for (JsonElement one : expected) {
      if (!left.remove(left.stream().filter(other -> fits(one, other)).findFirst().orElse(null))) {
        throw new Mismatch("answers: " + quoted(one) + " is not among " + quoted(found));
      }
    }
  }

  private static boolean fits(JsonElement expected, JsonElement found) {
    try {
      subset(expected, found, "");
      return true;
    } catch (Mismatch different) {
      return false;
    }
  }

  private static JsonArray array(JsonObject from, String name) {
    return from.has(name) ? from.getAsJsonArray(name) : new JsonArray();
  }

  private static String quoted(JsonElement value) {
    String text = value.toString();
    return text.length() <= LONGEST ? text : text.substring(0, LONGEST) + " ... (" + text.length() + " characters)";
  }
}
