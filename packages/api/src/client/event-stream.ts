/** Reads a server-sent event stream (WHATWG HTML §9.2) and gives each event's data. Fields but `data` are left out. */

const maxEventChars = 1_000_000;

export async function* serverSentEvents(body: ReadableStream<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let pending = '';
  let data: string[] = [];
  for await (const chunk of body) {
    pending += decoder.decode(chunk, { stream: true });
    if (pending.length > maxEventChars)
      throw new Error('A server-sent event is longer than 1,000,000 characters.');
    let end = pending.indexOf('\n');
    while (end >= 0) {
      const line = pending.slice(0, end).replace(/\r$/, '');
      pending = pending.slice(end + 1);
      if (line.startsWith('data:')) data.push(line.slice(5).trimStart());
      if (line === '' && data.length > 0) {
        yield data.join('\n');
        data = [];
      }
      end = pending.indexOf('\n');
    }
  }
}
