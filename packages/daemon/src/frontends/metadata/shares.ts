/**
 * What one guest may take of the service: connections, and work by a bucket that fills again with time. Who asks for more is put off, and where all
 * connections are taken the one that has most loses its oldest, so that a guest that asks for little is always served.
 */

export interface Connection {
  destroy(): void;
}

export interface ShareLimits {
  readonly connectionsOfGuest: number;
  readonly connections: number;
  /** Requests and connections at once, and their number in a second after that. */
  readonly burst: number;
  readonly perSecond: number;
}

export const shareLimits: ShareLimits = {
  connectionsOfGuest: 16,
  connections: 512,
  burst: 1000,
  perSecond: 200,
};

interface Share {
  readonly connections: Set<Connection>;
  left: number;
  atMs: number;
}

export interface Shares {
  /** False: it is more than the guest may have. To be left when it closes. */
  enter(guest: string, connection: Connection): boolean;
  leave(guest: string, connection: Connection): void;
  /** Takes what a piece of work costs; false when there is nothing left. What goes below nothing must be waited for. */
  spend(guest: string, cost: number): boolean;
}

/** Beyond so many those are forgotten that have nothing open and owe nothing. */
const keptShares = 4096;

export function createShares(limits: ShareLimits = shareLimits, nowMs = () => performance.now()): Shares {
  const shares = new Map<string, Share>();
  let connections = 0;

  const refill = (sinceMs: number): number => ((nowMs() - sinceMs) / 1000) * limits.perSecond;

  function shareOf(guest: string): Share {
    const now = nowMs();
    const share = shares.get(guest) ?? { connections: new Set(), left: limits.burst, atMs: now };
    share.left = Math.min(limits.burst, share.left + refill(share.atMs));
    share.atMs = now;
    if (!shares.has(guest)) {
      if (shares.size >= keptShares) forget();
      shares.set(guest, share);
    }
    return share;
  }

  function forget(): void {
    for (const [guest, { connections: open, left, atMs }] of shares) {
      const isFull = left + refill(atMs) >= limits.burst;
      if (open.size === 0 && isFull) shares.delete(guest);
    }
  }

  function makeRoom(): void {
    let most: Share | undefined;
    for (const share of shares.values())
      if (most === undefined || share.connections.size > most.connections.size) most = share;
    const [oldest] = most?.connections ?? [];
    if (oldest === undefined) return;
    most?.connections.delete(oldest);
    connections -= 1;
    oldest.destroy();
  }

  return {
    enter: (guest, connection) => {
      const share = shareOf(guest);
      if (share.left < 1 || share.connections.size >= limits.connectionsOfGuest) return false;
      share.left -= 1;
      if (connections >= limits.connections) makeRoom();
      share.connections.add(connection);
      connections += 1;
      return true;
    },
    leave: (guest, connection) => {
      if (shares.get(guest)?.connections.delete(connection) === true) connections -= 1;
    },
    spend: (guest, cost) => {
      const share = shareOf(guest);
      if (share.left < 1) return false;
      share.left -= cost;
      return true;
    },
  };
}
