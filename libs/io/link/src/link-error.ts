import { TidemarkError } from '@tidemark/base';

export type LinkErrorCode =
  | 'LINK_LISTEN' // the address cannot be listened on
  | 'LINK_UNREACHABLE' // no connection within the time
  | 'LINK_PEER' // the other end is not who it should be, or its site is not believed (any more)
  | 'LINK_CUT' // the connection broke, or ended inside a frame
  | 'LINK_SILENT' // the peer answers nothing any more
  | 'LINK_OVERFLOW' // more was sent than may wait
  | 'LINK_CODEC' // no worker compressed or decompressed a body
  | 'LINK_CLOSED'; // by this side

/** What happened to a connection to another VRA. Connecting again is right for all but a wrong listen address and our own end. */
export class LinkError extends TidemarkError<LinkErrorCode> {
  get isRetryable(): boolean {
    return this.code !== 'LINK_LISTEN' && this.code !== 'LINK_CLOSED';
  }
}
