import { Body, Controller, Delete, Get, HttpCode, Param, Put } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { GeneratedPasswordApi, UserApi, UserChangeApi, UserCreateApi } from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { Links } from '../http/links.js';
import { Action } from '../http/rest.js';
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
  async add(@Body() body: UserCreateApi): Promise<GeneratedPasswordApi> {
    return passwordView(await this.users.add(body.UserName, grantsOf(body.Roles)));
  }

  @Put(':user')
  @HttpCode(200)
  @Needs('manageUsers')
  @ApiOkResponse({ type: UserApi })
  async change(@Param('user') userId: string, @Body() { Roles, IsDisabled }: UserChangeApi): Promise<UserApi> {
    const { after } = await this.users.change(userId, { ...(Roles ? { roles: grantsOf(Roles) } : {}), ...(typeof IsDisabled === 'boolean' ? { isDisabled: IsDisabled } : {}) });
    return this.#view(after);
  }

  @Delete(':user')
  @HttpCode(200)
  @Needs('manageUsers')
  async remove(@Param('user') userId: string): Promise<void> {
    await this.users.remove(userId);
  }

  @Action(':user/resetPassword')
  @Needs('manageUsers')
  @ApiOkResponse({ type: GeneratedPasswordApi })
  async resetPassword(@Param('user') userId: string): Promise<GeneratedPasswordApi> {
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

const passwordView = ({ user, password }: NewPassword): GeneratedPasswordApi => ({ UserIdentifier: user.id, UserName: user.name, Password: password });
