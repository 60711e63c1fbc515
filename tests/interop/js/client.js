// grpc-js against our front: node client.js ADDRESS [SCENARIO ...]. One line of JSON a scenario: {"name", "fault"}.
'use strict';
const assert = require('node:assert');
const grpc = require('@grpc/grpc-js');

const same = (bytes) => bytes;
const method = (name, up, down) => ({
  path: `/interop.Interop/${name}`, requestStream: up, responseStream: down,
  requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same,
});
const Client = grpc.makeGenericClientConstructor({
  echo: method('Echo', false, false), fail: method('Fail', false, false), shed: method('Shed', false, false),
  hold: method('Hold', false, false), slow: method('Slow', false, false), count: method('Count', false, false),
  nothing: method('Nothing', false, false),
  up: method('Up', true, false), down: method('Down', false, true), both: method('Both', true, true),
}, 'Interop');

const options = {'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1};
const connect = (more) => new Client(process.argv[2], grpc.credentials.createInsecure(), {...options, ...more});
const FAULT = '50 % of \u00fc\u4f60\u597d\nand more';

// Resolves to {error, reply, initial, trailing}; never rejects.
function unary(client, name, message, metadata, callOptions, then) {
  return new Promise((resolve) => {
    const outcome = {};
    const call = client[name](Buffer.from(message), metadata || new grpc.Metadata(), callOptions || {},
      (error, reply) => Object.assign(outcome, {error, reply}));
    call.on('metadata', (initial) => { outcome.initial = initial; });
    call.on('status', (status) => { outcome.trailing = status.metadata; setImmediate(() => resolve(outcome)); });
    if (then) then(call);
  });
}

function drained(stream) {
  return new Promise((resolve) => {
    const got = [];
    stream.on('data', (message) => got.push(message.toString()));
    stream.on('error', () => {});
    stream.on('status', (status) => resolve({got, status}));
  });
}

const count = async (client) => JSON.parse((await unary(client, 'count', '')).reply.toString());
const until = async (condition) => { while (!(await condition())) await new Promise((r) => setTimeout(r, 20)); };

const scenarios = {
  async unary(client) {
    const message = Buffer.from([...Array(256).keys()]);
    const {error, reply} = await unary(client, 'echo', message);
    assert.ifError(error);
    assert.deepStrictEqual(reply, message);
    assert.strictEqual((await unary(client, 'echo', '')).reply.length, 0);
  },
  async metadata(client) {
    const metadata = new grpc.Metadata();
    metadata.set('x-echo', 'a, b');
    metadata.set('x-echo-bin', Buffer.from([0, 255, 10]));
    const {initial} = await unary(client, 'echo', 'x', metadata);
    assert.deepStrictEqual(initial.get('x-echo'), ['a, b']);
    assert.deepStrictEqual(initial.get('x-echo-bin'), [Buffer.from([0, 255, 10])]);
  },
  async errors(client) {
    const failed = (await unary(client, 'fail', 'x')).error;
    assert.deepStrictEqual([failed.code, failed.details], [grpc.status.INVALID_ARGUMENT, FAULT]);
    const {error, trailing} = await unary(client, 'shed', 'x');
    assert.strictEqual(error.code, grpc.status.RESOURCE_EXHAUSTED);
    assert.deepStrictEqual(trailing.get('retry-after-ms'), ['250']);
    assert.deepStrictEqual(trailing.get('x-reason-bin'), [Buffer.from([0, 255])]);
    assert.strictEqual((await unary(client, 'nothing', 'x')).error.code, grpc.status.UNIMPLEMENTED);
  },
  async deadline(client) {
    const before = (await count(client)).gone || 0;
    const {error} = await unary(client, 'hold', 'x', null, {deadline: Date.now() + 200});
    assert.strictEqual(error.code, grpc.status.DEADLINE_EXCEEDED);
    await until(async () => (await count(client)).gone > before);
  },
  async cancel(client) {
    const before = await count(client);
    const {error} = await unary(client, 'hold', 'x', null, {}, async (call) => {
      await until(async () => (await count(client)).held > (before.held || 0));
      call.cancel();
    });
    assert.strictEqual(error.code, grpc.status.CANCELLED);
    await until(async () => (await count(client)).gone > (before.gone || 0));
  },
  async client_streaming(client) {
    const reply = await new Promise((resolve, reject) => {
      const call = client.up((error, got) => (error ? reject(error) : resolve(got)));
      for (let number = 0; number < 200; number += 1) call.write(Buffer.alloc(1000));
      call.end();
    });
    assert.strictEqual(reply.toString(), '200000');
  },
  async server_streaming(client) {
    const {got, status} = await drained(client.down(Buffer.from('500')));
    assert.strictEqual(status.code, grpc.status.OK);
    assert.deepStrictEqual(got, [...Array(500).keys()].map(String));
  },
  async both_streaming(client) {
    const call = client.both();
    const end = drained(call);
    for (const word of ['one', '', 'two', 'fail']) call.write(Buffer.from(word));
    const {got, status} = await end;
    assert.deepStrictEqual(got, ['one', '', 'two']);
    assert.deepStrictEqual([status.code, status.details], [grpc.status.INVALID_ARGUMENT, FAULT]);
  },
  async stream_cancelled(client) {
    const before = (await count(client)).gone || 0;
    const call = client.both();
    const end = drained(call);
    call.write(Buffer.from('one'));
    call.once('data', () => call.cancel());
    assert.strictEqual((await end).status.code, grpc.status.CANCELLED);
    await until(async () => (await count(client)).gone > before);
  },
  async large(client) {
    const message = Buffer.alloc(20e6, 'large');
    const replies = await Promise.all([unary(client, 'echo', message), unary(client, 'echo', 'small')]);
    assert.ok(replies[0].reply.equals(message));
    assert.strictEqual(replies[1].reply.toString(), 'small');
  },
  async gzip() {
    const client = connect({'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip});
    for (const size of [10, 1e5, 5e6]) {
      const message = Buffer.alloc(size, 'packed');
      assert.ok((await unary(client, 'echo', message)).reply.equals(message));
    }
    client.close();
  },
  async many(client) {
    const numbers = [...Array(2000).keys()].map(String);
    const replies = await Promise.all(numbers.map((number) => unary(client, 'echo', number)));
    replies.forEach(({error}) => assert.ifError(error));
    assert.deepStrictEqual(replies.map(({reply}) => reply.toString()), numbers);
  },
  async keepalive() {
    const client = connect({'grpc.keepalive_time_ms': 100, 'grpc.keepalive_timeout_ms': 2000});
    const {error, reply} = await unary(client, 'slow', '1.5');
    assert.ifError(error);
    assert.strictEqual(reply.toString(), 'at last');
    client.close();
  },
  // Two seconds of calls over connections that the server asks to go: none may fail.
  async steady(client) {
    const end = Date.now() + 2000;
    let number = 0;
    await Promise.all([...Array(8)].map(async () => {
      while (Date.now() < end) {
        number += 1;
        const mine = String(number);
        const {error, reply} = await unary(client, 'echo', mine);
        assert.ifError(error);
        assert.strictEqual(reply.toString(), mine);
      }
    }));
  },
};

(async () => {
  const client = connect();
  const wanted = process.argv.slice(3);
  for (const [name, run] of Object.entries(scenarios)) {
    if (wanted.length && !wanted.includes(name)) continue;
    let fault = '';
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error('took too long')), 30000).unref());
    try { await Promise.race([run(client), late]); } catch (error) { fault = String(error.stack || error); }
    console.log(JSON.stringify({name, fault}));
  }
  process.exit(0);
})();
