/*-------------------------------------------------------------------------
 *
 * compat.h
 *		Every difference between server versions that the extension meets,
 *		each with its reason and when it can go.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_COMPAT_H
#define SYNCSTATE_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "syncstate needs PostgreSQL 15 or later"
#endif

#endif							/* SYNCSTATE_COMPAT_H */
