// grpc-java (netty) against our front: java Interop ADDRESS [SCENARIO ...]. One line of JSON a scenario: {"name", "fault"}.
import com.google.common.io.ByteStreams;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

public final class Interop {
  static final String FAULT = "50 % of \u00fc\u4f60\u597d\nand more";
  static ManagedChannel channel;
  static List<String> wanted;

  interface Scenario { void run() throws Exception; }

  static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
    public InputStream stream(byte[] value) { return new ByteArrayInputStream(value); }
    public byte[] parse(InputStream stream) {
      try { return ByteStreams.toByteArray(stream); } catch (IOException e) { throw new RuntimeException(e); }
    }
  }

  static MethodDescriptor<byte[], byte[]> method(String name, MethodType type) {
    return MethodDescriptor.newBuilder(new Bytes(), new Bytes())
        .setType(type).setFullMethodName("interop.Interop/" + name).build();
  }

  static byte[] unary(String name, byte[] message, CallOptions options) {
    return ClientCalls.blockingUnaryCall(channel, method(name, MethodType.UNARY), options, message);
  }

  static byte[] unary(String name, String message) { return unary(name, message.getBytes(), CallOptions.DEFAULT); }

  static StatusRuntimeException failure(Scenario call) throws Exception {
    try { call.run(); } catch (StatusRuntimeException error) { return error; }
    throw new AssertionError("the call succeeded");
  }

  static void same(Object got, Object expected) {
    if (!got.equals(expected)) throw new AssertionError("got " + got + ", expected " + expected);
  }

  static int seen(String what) {
    String counts = new String(unary("Count", ""));
    int at = counts.indexOf('"' + what + "\": ");
    return at < 0 ? 0 : Integer.parseInt(counts.substring(at + what.length() + 4).split("[,}]")[0]);
  }

  static void untilMore(String what, int before) throws Exception {
    while (seen(what) <= before) Thread.sleep(20);
  }

  /** Collects what comes; done with its status. */
  static final class Collector implements StreamObserver<byte[]> {
    final List<String> got = new ArrayList<>();
    final CompletableFuture<Status> end = new CompletableFuture<>();
    public synchronized void onNext(byte[] message) { got.add(new String(message)); }
    public void onError(Throwable error) { end.complete(Status.fromThrowable(error)); }
    public void onCompleted() { end.complete(Status.OK); }
  }

  static void echo() {
    byte[] message = new byte[256];
    for (int i = 0; i < 256; i++) message[i] = (byte) i;
    same(Arrays.equals(unary("Echo", message, CallOptions.DEFAULT), message), true);
    same(unary("Echo", "").length, 0);
  }

  static void metadata() {
    Metadata.Key<String> text = Metadata.Key.of("x-echo", Metadata.ASCII_STRING_MARSHALLER);
    Metadata.Key<byte[]> binary = Metadata.Key.of("x-echo-bin", Metadata.BINARY_BYTE_MARSHALLER);
    Metadata sent = new Metadata();
    sent.put(text, "a, b");
    sent.put(binary, new byte[] {0, -1, 10});
    AtomicReference<Metadata> initial = new AtomicReference<>();
    AtomicReference<Metadata> trailing = new AtomicReference<>();
    ClientCalls.blockingUnaryCall(
        ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(sent),
            MetadataUtils.newCaptureMetadataInterceptor(initial, trailing)),
        method("Echo", MethodType.UNARY), CallOptions.DEFAULT, new byte[1]);
    same(initial.get().get(text), "a, b");
    same(Arrays.equals(initial.get().get(binary), new byte[] {0, -1, 10}), true);
  }

  static void errors() throws Exception {
    Status status = failure(() -> unary("Fail", "x")).getStatus();
    same(status.getCode(), Status.Code.INVALID_ARGUMENT);
    same(status.getDescription(), FAULT);
    StatusRuntimeException shed = failure(() -> unary("Shed", "x"));
    same(shed.getStatus().getCode(), Status.Code.RESOURCE_EXHAUSTED);
    same(shed.getTrailers().get(Metadata.Key.of("retry-after-ms", Metadata.ASCII_STRING_MARSHALLER)), "250");
    same(failure(() -> unary("Nothing", "x")).getStatus().getCode(), Status.Code.UNIMPLEMENTED);
  }

  static void deadline() throws Exception {
    int before = seen("gone");
    CallOptions soon = CallOptions.DEFAULT.withDeadlineAfter(200, TimeUnit.MILLISECONDS);
    same(failure(() -> unary("Hold", new byte[1], soon)).getStatus().getCode(), Status.Code.DEADLINE_EXCEEDED);
    untilMore("gone", before);
  }

  static void cancel() throws Exception {
    int held = seen("held");
    int gone = seen("gone");
    ClientCall<byte[], byte[]> call = channel.newCall(method("Hold", MethodType.UNARY), CallOptions.DEFAULT);
    Future<byte[]> reply = ClientCalls.futureUnaryCall(call, new byte[1]);
    untilMore("held", held);
    reply.cancel(true);
    untilMore("gone", gone);
  }

  static void clientStreaming() throws Exception {
    Collector replies = new Collector();
    StreamObserver<byte[]> up = ClientCalls.asyncClientStreamingCall(
        channel.newCall(method("Up", MethodType.CLIENT_STREAMING), CallOptions.DEFAULT), replies);
    for (int i = 0; i < 200; i++) up.onNext(new byte[1000]);
    up.onCompleted();
    same(replies.end.get().getCode(), Status.Code.OK);
    same(replies.got, List.of("200000"));
  }

  static void serverStreaming() {
    Iterator<byte[]> down = ClientCalls.blockingServerStreamingCall(
        channel, method("Down", MethodType.SERVER_STREAMING), CallOptions.DEFAULT, "500".getBytes());
    int count = 0;
    while (down.hasNext()) same(new String(down.next()), String.valueOf(count++));
    same(count, 500);
  }

  static void bothStreaming() throws Exception {
    Collector replies = new Collector();
    StreamObserver<byte[]> both = ClientCalls.asyncBidiStreamingCall(
        channel.newCall(method("Both", MethodType.BIDI_STREAMING), CallOptions.DEFAULT), replies);
    for (String word : List.of("one", "", "two", "fail")) both.onNext(word.getBytes());
    Status status = replies.end.get();
    same(status.getCode(), Status.Code.INVALID_ARGUMENT);
    same(status.getDescription(), FAULT);
    same(replies.got, List.of("one", "", "two"));
  }

  static void large() {
    byte[] message = new byte[20_000_000];
    Arrays.fill(message, (byte) 'x');
    CallOptions unlimited = CallOptions.DEFAULT.withMaxInboundMessageSize(Integer.MAX_VALUE);
    same(Arrays.equals(unary("Echo", message, unlimited), message), true);
  }

  static void gzip() {
    byte[] message = new byte[5_000_000];
    CallOptions packed = CallOptions.DEFAULT.withCompression("gzip").withMaxInboundMessageSize(Integer.MAX_VALUE);
    same(unary("Echo", message, packed).length, message.length);
    same(new String(unary("Echo", "small".getBytes(), packed)), "small");
  }

  static void many() throws Exception {
    List<Future<byte[]>> replies = new ArrayList<>();
    for (int i = 0; i < 2000; i++) {
      replies.add(ClientCalls.futureUnaryCall(
          channel.newCall(method("Echo", MethodType.UNARY), CallOptions.DEFAULT), String.valueOf(i).getBytes()));
    }
    for (int i = 0; i < 2000; i++) same(new String(replies.get(i).get()), String.valueOf(i));
  }

  static void keepalive() {
    same(new String(unary("Slow", "1.5")), "at last");  // with a PING every second
  }

  /** Two seconds of calls over connections that the server asks to go: none may fail. */
  static void steady() throws Exception {
    long end = System.nanoTime() + 2_000_000_000L;
    for (int number = 0; System.nanoTime() < end; number += 8) {
      List<Future<byte[]>> replies = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        byte[] message = String.valueOf(number + i).getBytes();
        replies.add(ClientCalls.futureUnaryCall(
            channel.newCall(method("Echo", MethodType.UNARY), CallOptions.DEFAULT), message));
      }
      for (int i = 0; i < 8; i++) same(new String(replies.get(i).get()), String.valueOf(number + i));
    }
  }

  static void report(String name, Scenario scenario) {
    if (!wanted.isEmpty() && !wanted.contains(name)) return;
    String fault = "";
    try {
      scenario.run();
    } catch (Throwable error) {
      fault = String.valueOf(error).replace("\\", "/").replace("\"", "'").replace("\n", " ");
    }
    System.out.println("{\"name\": \"" + name + "\", \"fault\": \"" + fault + "\"}");
  }

  public static void main(String[] arguments) {
    channel = NettyChannelBuilder.forTarget(arguments[0]).usePlaintext()
        .keepAliveTime(1, TimeUnit.SECONDS).keepAliveWithoutCalls(true).build();
    wanted = Arrays.asList(arguments).subList(1, arguments.length);
    report("unary", Interop::echo);
    report("metadata", Interop::metadata);
    report("errors", Interop::errors);
    report("deadline", Interop::deadline);
    report("cancel", Interop::cancel);
    report("client_streaming", Interop::clientStreaming);
    report("server_streaming", Interop::serverStreaming);
    report("both_streaming", Interop::bothStreaming);
    report("large", Interop::large);
    report("gzip", Interop::gzip);
    report("many", Interop::many);
    report("keepalive", Interop::keepalive);
    report("steady", Interop::steady);
    System.exit(0);
  }
}
