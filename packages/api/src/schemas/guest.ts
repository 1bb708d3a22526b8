/** What is done inside a guest through its agent: commands and files. Also the proof of its isolation. */
import * as z from 'zod';

export const execSchema = z
  .strictObject({
    argv: z
      .array(z.string().max(131_072))
      .min(1)
      .max(1000)
      .describe('Program and arguments; no shell is in between.'),
    env: z.array(z.string().max(131_072)).max(1000).optional().describe('`KEY=value` pairs.'),
    stdin: z.base64().max(12_000_000).optional().describe('Standard input, base64.'),
    timeoutSeconds: z.int().min(1).max(3600).default(60),
  })
  .meta({ id: 'Exec' });

export const execResultSchema = z
  .object({
    exitCode: z.int().optional().describe('Absent when a signal ended the program.'),
    signal: z.int().optional(),
    stdout: z.base64().describe('Base64.'),
    stderr: z.base64().describe('Base64.'),
    truncated: z.boolean().describe('Whether the agent cut the output.'),
  })
  .meta({ id: 'ExecResult' });

export const guestPathQuery = z.strictObject({
  path: z
    .string()
    .min(1)
    .max(4096)
    .regex(/^\//, 'must be absolute')
    .describe('Absolute path inside the guest.'),
});

export const logQuery = z.strictObject({
  source: z
    .enum(['console', 'qemu'])
    .default('console')
    .describe('The serial console, or QEMU’s own messages.'),
  follow: z.stringbool().default(false).describe('Go on as the log grows (console only).'),
});

export const isolationSchema = z
  .object({
    pid: z.int(),
    uids: z.array(z.int()).describe('Real, effective, saved and file system uid.'),
    gids: z.array(z.int()),
    groups: z.array(z.int()).describe('Supplementary groups.'),
    capabilities: z.object({
      inheritable: z.array(z.string()),
      permitted: z.array(z.string()),
      effective: z.array(z.string()),
      bounding: z.array(z.string()),
      ambient: z.array(z.string()),
    }),
    seccomp: z.enum(['disabled', 'strict', 'filter']),
    seccompFilters: z.int().optional(),
    noNewPrivileges: z.boolean(),
    selinuxLabel: z.string().nullable().describe('Null where SELinux is off.'),
    cgroups: z.array(z.object({ hierarchy: z.string(), path: z.string(), own: z.boolean() })),
    namespaces: z.array(
      z.object({ name: z.string(), id: z.string(), shared: z.boolean().describe('With wirtd.') }),
    ),
    openFiles: z.array(z.object({ fd: z.int(), target: z.string() })),
  })
  .meta({ id: 'Isolation', description: 'Read from /proc and cgroupfs at the time of asking.' });

export type Exec = z.infer<typeof execSchema>;
export type ExecResult = z.infer<typeof execResultSchema>;
export type LogQuery = z.infer<typeof logQuery>;
export type Isolation = z.infer<typeof isolationSchema>;
