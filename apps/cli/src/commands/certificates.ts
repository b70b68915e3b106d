import type { Command } from 'commander';
import type { CertificateApi, RestCertificateApi, SiteCertificatesApi } from '@tidemark/contracts';
import type { Session } from '../context.js';
import { timeText } from '../output.js';
import { followRotation } from '../follow-rotation.js';
import type { InSession } from '../program.js';
import { readText } from '../read-files.js';

export function addCertificateCommands(program: Command, session: InSession): void {
  const certificate = program.command('certificate').description('certificates of the site');

  certificate.command('list', { isDefault: true }).description('what the site shows, and until when; whom a rotation waits for')
    .action((_options, command: Command) => session(command, showAll));

  certificate.command('ca').description('PEM of what has to be trusted to believe the site: for --ca, browsers, curl')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      const { CaPem } = await client.get<SiteCertificatesApi>('/localsite/certificates');
      if (output.format === 'json') output.json({ CaPem });
      else output.text(CaPem.trimEnd());
    }));

  certificate.command('import').description('serve 9669 with a certificate of your own').argument('<chain>', "PEM file: the server's certificate first, then the CAs that signed it, up to the root")
    .argument('<key>', 'PEM file of its private key, without a passphrase; - is standard input')
    .action((chain: string, key: string, _options, command: Command) => session(command, async ({ client, output }) => {
      const served = await client.put<RestCertificateApi>('/localsite/certificate', { CertificatePem: await readText(chain, 'the certificate'), PrivateKeyPem: await readText(key, 'the private key') });
      output.done(served, `9669 is served with ${served.Subject} until ${timeText(served.ValidUntil)}, SHA-256 ${served.Fingerprint}; clients have to trust its CA from now on`);
    }));

  certificate.command('remove').description("take the imported one away: 9669 is served with one of the site's CA again").option('-y, --yes', 'do not ask')
    .action((options: { yes?: boolean }, command: Command) => session(command, async ({ client, output, confirm }) => {
      await confirm('Clients that trust the imported certificate only will not believe the site any more.', options.yes === true);
      const served = await client.delete<RestCertificateApi>('/localsite/certificate');
      output.done(served, `9669 is served with ${served.Subject} of the site's CA until ${timeText(served.ValidUntil)}; clients have to trust the CA: tidemark certificate ca`);
    }));

  certificate.command('rotate').description("change the site's CA; tells whom it waits for, and goes on by itself when this command is ended").option('--no-wait', 'only begin').option('-y, --yes', 'do not ask')
    .action((options: { wait: boolean; yes?: boolean }, command: Command) => session(command, (inSession) => rotate(inSession, options)));
}

async function rotate(session: Session, { wait, yes = false }: { readonly wait: boolean; readonly yes?: boolean }): Promise<void> {
  const { client, output, confirm } = session;
  const { Rotation } = await client.get<SiteCertificatesApi>('/localsite/certificates');
  if (Rotation.Phase === 'Steady') {
    await confirm("Every copy of the site's CA, in browsers and in files for --ca, has to be made anew afterwards.", yes);
    await client.post('/localsite/certificates/rotate');
  } else output.note('a rotation is under way already');
  if (!wait) return output.done({}, 'the CA is being rotated; tidemark certificate list tells how far it is');
  const done = await followRotation(session);
  output.done(done, 'the CA is rotated, and the old one is trusted no more; for new copies: tidemark certificate ca');
}

async function showAll({ client, output }: Session): Promise<void> {
  const all = await client.get<SiteCertificatesApi>('/localsite/certificates');
  const served = await client.get<RestCertificateApi>('/localsite/certificate');
  if (output.format === 'json') return output.json({ ...all, Served: served });
  const rows = [...all.Certificates.map((one) => ({ ...one, remark: '–' })), { ...served, remark: served.IsImported ? 'imported' : "of the site's CA" }];
  output.list<CertificateApi & { remark: string }>(rows, {
    COMPONENT: (one) => one.Component, SUBJECT: (one) => one.Subject, ISSUER: (one) => one.Issuer, FROM: (one) => timeText(one.ValidFrom), UNTIL: (one) => timeText(one.ValidUntil),
    REMARK: (one) => one.remark, 'SHA-256': (one) => one.Fingerprint,
  }, 'no certificates');
  if (all.Rotation.Phase !== 'Steady') output.note(`the CA is being rotated (${all.Rotation.Phase}); it waits for ${all.Rotation.WaitsFor.join(', ') || 'its next step'}`);
}
