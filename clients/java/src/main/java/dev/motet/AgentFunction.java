package dev.motet;

import dev.motet.v1.Payload;

/**
 * Answers one call. Its thread is interrupted when the call is cancelled, its time is over or the connection is lost;
 * it should return or throw soon then. What it throws fails the call: a {@link MotetException} with its own reason,
 * anything else with AGENT_FAILED. Calls that it makes with a {@link MotetClient} count as nested in this one and end
 * with it.
 */
@FunctionalInterface
public interface AgentFunction {
  Payload call(Call call) throws Exception;
}
