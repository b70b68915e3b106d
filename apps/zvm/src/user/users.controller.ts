import { Body, Controller, Delete, Get, HttpCode, Param, Put } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { GeneratedPasswordApi, UserApi, UserChangeApi, UserCreateApi } from '@tidemark/contracts';
import type { Caller } from '../access/caller.js';
import { Needs } from '../access/needs.js';
import type { RoleGrant } from '../access/permissions.js';
import { forbidden } from '../errors.js';
import { Links } from '../http/links.js';
import { Action } from '../http/rest.js';
import { SessionCaller } from '../session/session.guard.js';
import { grantsOf, grantView } from './grant.view.js';
import { type NewPassword, UserService } from './user.service.js';
import { type User, UserStore } from './user.store.js';

@ApiTags('users')
@Controller('users')
@Needs('manageUsers')
export class UsersController {
  constructor(
    private readonly users: UserService,
    private readonly store: UserStore,
    private readonly links: Links,
  ) {}

  @Get()
  @ApiOkResponse({ type: [UserApi] })
  async list(): Promise<UserApi[]> {
    return (await this.store.list()).map((user) => this.#view(user));
  }

  @Get(':user')
  @ApiOkResponse({ type: UserApi })
  async one(@Param('user') userId: string): Promise<UserApi> {
    return this.#view(await this.store.get(userId));
  }

  /** The password is in this answer and nowhere else. */
  @Action()
  @Needs('manageUsers')
  @ApiOkResponse({ type: GeneratedPasswordApi })
  async add(@Body() body: UserCreateApi, @SessionCaller() caller: Caller): Promise<GeneratedPasswordApi> {
    const roles = grantsOf(body.Roles);
    assertReached(caller, roles);
    return passwordView(await this.users.add(body.UserName, roles));
  }

  @Put(':user')
  @HttpCode(200)
  @Needs('manageUsers')
  @ApiOkResponse({ type: UserApi })
  async change(@Param('user') userId: string, @Body() { Roles, IsDisabled }: UserChangeApi, @SessionCaller() caller: Caller): Promise<UserApi> {
    const roles = Roles ? grantsOf(Roles) : undefined;
    assertReached(caller, [...(await this.store.get(userId)).roles, ...(roles ?? [])]);
    const { after } = await this.users.change(userId, { ...(roles ? { roles } : {}), ...(typeof IsDisabled === 'boolean' ? { isDisabled: IsDisabled } : {}) });
    return this.#view(after);
  }

  @Delete(':user')
  @HttpCode(200)
  @Needs('manageUsers')
  async remove(@Param('user') userId: string, @SessionCaller() caller: Caller): Promise<void> {
    assertReached(caller, (await this.store.get(userId)).roles);
    await this.users.remove(userId);
  }

  @Action(':user/resetPassword')
  @Needs('manageUsers')
  @ApiOkResponse({ type: GeneratedPasswordApi })
  async resetPassword(@Param('user') userId: string, @SessionCaller() caller: Caller): Promise<GeneratedPasswordApi> {
    assertReached(caller, (await this.store.get(userId)).roles);
    return passwordView(await this.users.resetPassword(userId));
  }

  /** Ends the waiting that failed log-ins brought. */
  @Action(':user/unlock')
  @Needs('manageUsers')
  async unlock(@Param('user') userId: string): Promise<void> {
    await this.users.unlock(userId);
  }

  #view(user: User): UserApi {
    return {
      Link: this.links.of(`users/${user.id}`, 'UserApi', user.id), UserIdentifier: user.id, UserName: user.name, Roles: user.roles.map(grantView), IsDisabled: user.isDisabled,
      IsPasswordToBeChanged: user.isPasswordToBeChanged, Created: new Date(user.createdAtMs).toISOString(),
      LastLogin: user.lastLoginAtMs === null ? null : new Date(user.lastLoginAtMs).toISOString(),
    };
  }
}

/** With an administrator's password, or one more administrator, a token would do everything: its scopes would narrow nothing. @throws ZvmError ZVM_FORBIDDEN */
function assertReached({ method, name }: Caller, roles: readonly RoleGrant[]): void {
  if (method !== 'Token' || !roles.some(({ role }) => role === 'administrator')) return;
  throw forbidden(`this API token of '${name}' cannot make, change or remove administrators, nor reset their passwords: who can has every permission, whatever the token's scopes say. Log in with a password for this`);
}

const passwordView = ({ user, password }: NewPassword): GeneratedPasswordApi => ({ UserIdentifier: user.id, UserName: user.name, Password: password });
