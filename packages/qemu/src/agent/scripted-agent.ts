/** For tests: a guest agent that synchronises properly and answers commands by a function of the test. */

import { type ScriptedPeer, startScriptedPeer } from '../scripted-peer.ts';
import { type AgentConnection, connectAgent } from './connection.ts';

export interface AgentRequest {
  execute: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test reads what it expects and fails otherwise
  arguments: any;
}

/** What `answer` returns is sent as `return`; undefined is no answer; what it throws is sent as error. */
export async function startScriptedAgent(
  answer: (request: AgentRequest) => unknown,
): Promise<{ agent: AgentConnection; requests: AgentRequest[] } & AsyncDisposable> {
  const peer: ScriptedPeer = await startScriptedPeer();
  const agent = await connectAgent({ path: peer.path });
  const guest = await peer.accept();
  const requests: AgentRequest[] = [];
  const reply = (request: AgentRequest): void => {
    if (request.execute === 'guest-sync-delimited') {
      guest.write(Buffer.from(`\u00ff{"return": ${request.arguments.id}}\n`, 'latin1'));
      return;
    }
    requests.push(request);
    try {
      const value = answer(request);
      if (value !== undefined) guest.send({ return: value });
    } catch (error) {
      guest.send({ error: { class: 'GenericError', desc: (error as Error).message } });
    }
  };
  const serve = async (): Promise<never> => {
    for (;;) reply(JSON.parse((await guest.line()).replace(/^\u00ff/, '')));
  };
  // Ends with the process: the last line never comes.
  void serve();
  return {
    agent,
    requests,
    async [Symbol.asyncDispose]() {
      await agent.close();
      await peer[Symbol.asyncDispose]();
    },
  };
}
