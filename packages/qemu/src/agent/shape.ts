/**
 * Checks of what a guest agent answers. Each either returns the typed value or throws AgentProtocolError with the
 * command and the member that is wrong.
 */

import { isRecord } from '../json.ts';
import { AgentProtocolError } from './errors.ts';

export interface AnswerShape {
  object(value: unknown): Record<string, unknown>;
  array(value: unknown): unknown[];
  string(object: Record<string, unknown>, member: string): string;
  optionalString(object: Record<string, unknown>, member: string): string | undefined;
  /** A safe integer, not negative. */
  count(object: Record<string, unknown>, member: string): number;
  optionalCount(object: Record<string, unknown>, member: string): number | undefined;
  boolean(object: Record<string, unknown>, member: string): boolean;
  optionalBoolean(object: Record<string, unknown>, member: string): boolean;
  /** Absent means empty. */
  base64(object: Record<string, unknown>, member: string): Buffer;
  wrong(what: string): AgentProtocolError;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

export function answerOf(command: string): AnswerShape {
  const wrong = (what: string): AgentProtocolError =>
    new AgentProtocolError(`${command}: the guest agent's answer ${what}`);
  const shape: AnswerShape = {
    wrong,
    object(value) {
      if (!isRecord(value)) throw wrong('is not an object');
      return value;
    },
    array(value) {
      if (!Array.isArray(value)) throw wrong('is not an array');
      return value;
    },
    string(object, member) {
      const value = object[member];
      if (typeof value !== 'string') throw wrong(`has no text ${member}`);
      return value;
    },
    optionalString: (object, member) =>
      object[member] === undefined ? undefined : shape.string(object, member),
    count(object, member) {
      const value = object[member];
      if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
        throw wrong(`has no number ${member}`);
      }
      return value;
    },
    optionalCount: (object, member) =>
      object[member] === undefined ? undefined : shape.count(object, member),
    boolean(object, member) {
      const value = object[member];
      if (typeof value !== 'boolean') throw wrong(`has no true or false ${member}`);
      return value;
    },
    optionalBoolean: (object, member) =>
      object[member] === undefined ? false : shape.boolean(object, member),
    base64(object, member) {
      const text = shape.optionalString(object, member) ?? '';
      if (!BASE64.test(text)) throw wrong(`has a ${member} that is not base64`);
      return Buffer.from(text, 'base64');
    },
  };
  return shape;
}
