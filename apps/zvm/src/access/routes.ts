import { RequestMethod } from '@nestjs/common';
import { METHOD_METADATA, PATH_METADATA } from '@nestjs/common/constants.js';
import { ModulesContainer } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { IS_PUBLIC, NEED, type Need } from './needs.js';

export interface Route {
  readonly method: string;
  /** Below `/v1`, with its parameters: `/vpgs/:vpg/pause`. */
  readonly path: string;
  readonly isPublic: boolean;
  /** Declared at the handler itself. */
  readonly own: Need | undefined;
  /** Declared at its class. */
  readonly ofClass: Need | undefined;
}

const pathOf = (target: object): string[] => {
  const given = Reflect.getMetadata(PATH_METADATA, target) as string | string[] | undefined;
  return given === undefined ? [] : [given].flat();
};

/** Every route that Nest serves, as the controllers declare them: for tests and for the list of what needs what. */
export function routesOf(app: NestFastifyApplication): Route[] {
  const controllers = [...app.get(ModulesContainer).values()].flatMap((module) => [...module.controllers.values()]);
  return controllers.flatMap(({ metatype }) => (typeof metatype === 'function' ? routesOfClass(metatype) : []));
}

function routesOfClass(type: { readonly prototype?: object; readonly name: string }): Route[] {
  const { prototype } = type;
  if (!prototype) return [];
  const handlers = Object.getOwnPropertyNames(prototype).flatMap((name) => {
    const value = Object.getOwnPropertyDescriptor(prototype, name)?.value as unknown;
    return typeof value === 'function' ? [value] : [];
  });
  return handlers.flatMap((handler) => {
    const method = Reflect.getMetadata(METHOD_METADATA, handler) as RequestMethod | undefined;
    if (method === undefined) return [];
    return pathOf(type).flatMap((base) => pathOf(handler).map((path): Route => ({
      method: RequestMethod[method] ?? '', path: `/${[base, path].flatMap((part) => part.split('/')).filter((part) => part !== '').join('/')}`,
      isPublic: Reflect.getMetadata(IS_PUBLIC, handler) === true || Reflect.getMetadata(IS_PUBLIC, type) === true,
      own: Reflect.getMetadata(NEED, handler) as Need | undefined, ofClass: Reflect.getMetadata(NEED, type) as Need | undefined,
    })));
  });
}
