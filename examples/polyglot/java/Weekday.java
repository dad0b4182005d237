import dev.motet.Payloads;
import dev.motet.Worker;
import dev.motet.v1.Payload;
import dev.motet.v1.WorkerAgent;
import java.time.Duration;
import java.time.LocalDate;
import java.time.format.TextStyle;
import java.util.Locale;

/** The Java member: on which day of the week a date falls, by the standard library. Usage: Weekday ADDRESS */
final class Weekday {
  private static final Payload NO_PAUSE = Payload.newBuilder().setJson("0").build();

  public static void main(String[] arguments) throws InterruptedException {
    WorkerAgent agent = WorkerAgent.newBuilder().setName("java").setVersion("1").setCapacity(4).build();
    new Worker(arguments[0]).id("java").drainOnShutdown(Duration.ofSeconds(5)).offer(agent, call -> {
      call.report(Payloads.text("looks at the calendar"));
      String pause = call.lease().getVariablesOrDefault("pause", NO_PAUSE).getJson();
      Thread.sleep((long) (1000 * Double.parseDouble(pause)));
      String day = LocalDate.parse(call.text()).getDayOfWeek().getDisplayName(TextStyle.FULL, Locale.ENGLISH);
      return Payloads.text(day);
    }).run();
  }
}
