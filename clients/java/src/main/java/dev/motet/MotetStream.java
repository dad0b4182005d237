package dev.motet;

import io.grpc.SynchronizationContext;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.ArrayDeque;
import java.util.Collection;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/**
 * Items that come one after another and end with a result. It has one subscriber, starts when that asks for the first
 * item, and takes no more from the server than is asked for; the subscriber is called by one thread at a time.
 *
 * @param <T> the items
 * @param <R> what they end with
 */
public abstract class MotetStream<T, R> implements Flow.Publisher<T> {
  /** Everything below happens in here, one thing at a time and in order. */
  final SynchronizationContext turn;

  private final CompletableFuture<R> result = new CompletableFuture<>();
  private final AtomicBoolean taken = new AtomicBoolean();
  private final Queue<T> waiting = new ArrayDeque<>();
  private Flow.Subscriber<? super T> subscriber;
  private long wanted;
  private boolean fetching;
  private boolean ended;
  private R value;
  private Throwable failure;

  MotetStream() {
    turn = new SynchronizationContext((thread, fault) -> broke(fault));
    result.whenComplete((value, fault) -> {
      if (fault != null) turn.execute(this::stop);
    });
  }

  /** Completes when the last item has been taken; fails as the stream does. Cancelling it cancels the stream. */
  public final CompletableFuture<R> result() {
    return result;
  }

  /**
   * Starts the stream and hands each item to an action, one at a time. What the action throws cancels the stream and
   * fails the future.
   *
   * @return {@link #result}
   */
  public final CompletableFuture<R> forEach(Consumer<? super T> action) {
    subscribe(new Flow.Subscriber<T>() {
      @Override
      public void onSubscribe(Flow.Subscription subscription) {
        subscription.request(Long.MAX_VALUE);
      }

      @Override
      public void onNext(T item) {
        action.accept(item);
      }

      @Override
      public void onError(Throwable fault) {
        // The future tells.
      }

      @Override
      public void onComplete() {
        // The future tells.
      }
    });
    return result;
  }

  @Override
  public final void subscribe(Flow.Subscriber<? super T> subscriber) {
    Objects.requireNonNull(subscriber, "subscriber");
    if (taken.getAndSet(true)) {
      subscriber.onSubscribe(new Demand(false));
      subscriber.onError(new IllegalStateException("a stream has one subscriber; make another stream"));
      return;
    }
    this.subscriber = subscriber;
    turn.execute(() -> subscriber.onSubscribe(new Demand(true)));
  }

  /** Asks for more items. {@link #give}, {@link #end} or {@link #fail} is called sooner or later. */
  abstract void fetch();

  /** Nobody listens any more. Called once or twice, also when nothing was fetched yet. */
  abstract void stop();

  final boolean wantsMore() {
    return fetching;
  }

  final void give(Collection<T> items) {
    fetching = false;
    waiting.addAll(items);
    move();
  }

  final void end(Collection<T> last, R value) {
    this.ended = true;
    this.value = value;
    give(last);
  }

  final void fail(MotetException failure) {
    if (!ended) {
      this.failure = failure;
      end(List.of(), null);
    }
  }

  /** Something threw: the subscriber, or the iterator of a map's inputs. */
  private void broke(Throwable fault) {
    if (result.completeExceptionally(fault)) turn.execute(() -> subscriber.onError(fault));
  }

  private void move() {
    while (!result.isDone() && wanted > 0 && !waiting.isEmpty()) {
      if (wanted < Long.MAX_VALUE) wanted--;
      subscriber.onNext(waiting.remove());
    }
    if (result.isDone() || !waiting.isEmpty()) return;
    if (ended && failure == null) {
      if (result.complete(value)) subscriber.onComplete();
    } else if (ended) {
      if (result.completeExceptionally(failure)) subscriber.onError(failure);
    } else if (wanted > 0 && !fetching) {
      fetching = true;
      fetch();
    }
  }

  private final class Demand implements Flow.Subscription {
    private final boolean ours;

    Demand(boolean ours) {
      this.ours = ours;
    }

    @Override
    public void request(long more) {
      if (!ours) return;
      turn.execute(() -> {
        if (more <= 0) {
          throw new IllegalArgumentException("request: must be above zero, is " + more);
        }
        wanted = wanted + more < 0 ? Long.MAX_VALUE : wanted + more;
        move();
      });
    }

    @Override
    public void cancel() {
      if (ours) result.cancel(false);
    }
  }

  /** What one call of the server brings, in turn. Silent once it was cancelled. */
  final class Ear<Q, A> implements ClientResponseObserver<Q, A> {
    final Consumer<A> take;
    final Consumer<MotetException> over;
    final Runnable ready;
    ClientCallStreamObserver<Q> call;
    private boolean deaf;

    /** Over is given null when the server ended the call in good order. Ready: more can be sent. */
    Ear(Consumer<A> take, Consumer<MotetException> over, Runnable ready) {
      this.take = take;
      this.over = over;
      this.ready = ready;
    }

    void cancel() {
      deaf = true;
      call.cancel("nobody listens any more", null);
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<Q> call) {
      this.call = call;
      call.disableAutoRequestWithInitial(0);
      call.setOnReadyHandler(() -> hear(ready));
    }

    @Override
    public void onNext(A message) {
      hear(() -> take.accept(message));
    }

    @Override
    public void onError(Throwable fault) {
      hear(() -> over.accept(MotetException.of(fault)));
    }

    @Override
    public void onCompleted() {
      hear(() -> over.accept(null));
    }

    private void hear(Runnable what) {
      turn.execute(() -> {
        if (!deaf) what.run();
      });
    }
  }
}
