import { Text } from './fields.js';

/** Names in lower case, as clients of this API know them. */
export class ResourceLink {
  @Text() identifier?: string | null;
  @Text({ isRequired: true }) href!: string;
  @Text() rel?: string | null;
  /** Name of the schema of what `href` answers, e.g. `VpgApi`. */
  @Text() type?: string | null;
}

/** Body of every answer with a 4xx or 5xx status. */
export class ErrorApi {
  @Text({ isRequired: true }) Message!: string;
}

/** The organisation of a resource; the zero id outside a cloud manager. */
export const EMPTY_ZORG_ID = '00000000-0000-0000-0000-000000000000';
