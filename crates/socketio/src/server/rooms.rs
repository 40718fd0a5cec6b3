//! Who is in which room of one namespace: plain data.
//!
//! Sockets and rooms are known by small dense numbers; ids and names are hashed only to find
//! these. The room that each socket has for itself, named like its id, is *virtual*: a bit and no
//! entry. Others may join a room of that name; then the room is both. This module does not lock,
//! send, tell anybody or know whether a socket is connected.
//! Specification: Socket.IO, "Rooms"; reference: the in-memory adapter (`rooms`, `sids`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::id::SocketId;

/// The sockets of a namespace, each known by its id and by its slot, and the rooms they are in.
///
/// Ids are unique: if two sockets have the same one, only one of them is found by it.
///
/// A slot is valid from `insert` to `remove`; afterwards another socket gets it. Methods that take
/// a slot do nothing if it is vacant.
pub(crate) struct Rooms<S> {
    sockets: Slab<S>,
    /// The rooms of the socket in the same slot, in order of joining, without the virtual one.
    memberships: Vec<Vec<Membership>>,
    /// The slots of the sockets that are in their own room.
    own: Bits,
    rooms: Slab<Room>,
    /// Slots by the socket's id, and numbers of rooms by name.
    ids: HashTable<u32>,
    names: HashTable<u32>,
    hasher: RandomState,
}

/// A socket, or a handle of it.
pub(crate) trait Member {
    /// Gives the id, which never changes.
    fn id(&self) -> &SocketId;
}

/// The place of a socket in [`Rooms`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Slot(pub(crate) u32);

/// What a call of `join` did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Joined {
    /// The room had no socket before.
    pub(crate) created: bool,
    /// The socket was not in the room before.
    pub(crate) joined: bool,
}

/// What a call of `leave` did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Left {
    /// The socket was in the room before.
    pub(crate) left: bool,
    /// The room has no socket any more.
    pub(crate) deleted: bool,
}

/// That a socket is in a room.
#[derive(Clone, Copy)]
struct Membership {
    room: u32,
    /// Where the socket stands among the room's members.
    position: u32,
}

struct Room {
    name: Box<str>,
    /// Slots, without the one whose virtual room has this name. Never empty.
    members: Vec<u32>,
}

impl<S: Member> Rooms<S> {
    /// Makes an index without sockets, which owns no memory yet.
    pub(crate) fn new() -> Rooms<S> {
        Rooms {
            sockets: Slab::new(),
            memberships: Vec::new(),
            own: Bits::default(),
            rooms: Slab::new(),
            ids: HashTable::new(),
            names: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    /// Adds a socket, which is in its own room only.
    pub(crate) fn insert(&mut self, socket: S) -> Slot {
        let hash = self.hash(socket.id().as_bytes());
        let slot = self.sockets.insert(socket);
        if slot as usize == self.memberships.len() {
            self.memberships.push(Vec::new());
        }
        self.own.insert(slot);
        let (sockets, hasher) = (&self.sockets, &self.hasher);
        self.ids
            .insert_unique(hash, slot, |&slot| hash_of_id(sockets, hasher, slot));
        Slot(slot)
    }

    /// Takes a socket out of all its rooms and out of the index.
    ///
    /// `left` gets the name of each room, the own one first, then in order of joining, and whether
    /// the room has no socket any more.
    pub(crate) fn remove(&mut self, slot: Slot, mut left: impl FnMut(&str, bool)) -> Option<S> {
        let id = self.sockets.get(slot.0)?.id();
        let hash = self.hash(id.as_bytes());
        if self.own.remove(slot.0) {
            left(id.as_str(), self.find_room(id.as_str()).is_none());
        }
        for membership in std::mem::take(self.memberships.get_mut(slot.0 as usize)?) {
            let name_is_id = self.name_is_id(membership.room);
            let emptied = self.take_from_room(membership);
            left(
                &self.rooms.get(membership.room)?.name,
                emptied && !name_is_id,
            );
            if emptied {
                self.delete_room(membership.room);
            }
        }
        if let Ok(entry) = self.ids.find_entry(hash, |&other| other == slot.0) {
            entry.remove();
        }
        let socket = self.sockets.remove(slot.0);
        self.memberships.truncate(self.sockets.entries.len());
        self.give_back();
        socket
    }

    /// Puts a socket into a room.
    pub(crate) fn join(&mut self, slot: Slot, room: &str) -> Joined {
        let Some(socket) = self.at(slot) else {
            return Joined::default();
        };
        if *socket.id() == *room {
            let joined = self.own.insert(slot.0);
            return Joined {
                created: joined && self.find_room(room).is_none(),
                joined,
            };
        }
        let (number, created) = match self.find_room(room) {
            Some(number) if self.is_member(slot.0, number) => return Joined::default(),
            Some(number) => (number, false),
            None => (self.create_room(room), self.find_own(room).is_none()),
        };
        if let Some(room) = self.rooms.get_mut(number) {
            let position = room.members.len() as u32;
            room.members.push(slot.0);
            self.memberships[slot.0 as usize].push(Membership {
                room: number,
                position,
            });
        }
        Joined {
            created,
            joined: true,
        }
    }

    /// Takes a socket out of a room.
    pub(crate) fn leave(&mut self, slot: Slot, room: &str) -> Left {
        let Some(socket) = self.at(slot) else {
            return Left::default();
        };
        if *socket.id() == *room {
            let left = self.own.remove(slot.0);
            return Left {
                left,
                deleted: left && self.find_room(room).is_none(),
            };
        }
        let Some(number) = self.find_room(room) else {
            return Left::default();
        };
        let memberships = &mut self.memberships[slot.0 as usize];
        let Some(index) = memberships.iter().position(|m| m.room == number) else {
            return Left::default();
        };
        let membership = memberships.remove(index);
        shrink(memberships);
        let emptied = self.take_from_room(membership);
        if emptied {
            self.delete_room(number);
        }
        Left {
            left: true,
            deleted: emptied && self.find_own(room).is_none(),
        }
    }

    /// Gives the number of sockets.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Gives the socket in a slot.
    pub(crate) fn at(&self, slot: Slot) -> Option<&S> {
        self.sockets.get(slot.0)
    }

    /// Finds a socket by its id.
    pub(crate) fn get(&self, id: &SocketId) -> Option<&S> {
        self.sockets.get(self.find_id(id.as_bytes())?)
    }

    /// Gives all sockets in order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &S> {
        self.sockets.iter()
    }

    /// Gives the names of the rooms of a socket: its own first, then in order of joining.
    pub(crate) fn rooms_of(&self, slot: Slot) -> impl Iterator<Item = &str> {
        let socket = self.at(slot).filter(|_| self.own.contains(slot.0));
        let memberships = self.memberships.get(slot.0 as usize).into_iter().flatten();
        let names = memberships
            .filter_map(|m| self.rooms.get(m.room))
            .map(|room| &*room.name);
        socket
            .map(|socket| socket.id().as_str())
            .into_iter()
            .chain(names)
    }

    /// Says whether a socket is in a room.
    pub(crate) fn is_in(&self, slot: Slot, room: &str) -> bool {
        match self.at(slot) {
            Some(socket) if *socket.id() == *room => self.own.contains(slot.0),
            Some(_) => self
                .find_room(room)
                .is_some_and(|number| self.is_member(slot.0, number)),
            None => false,
        }
    }

    /// Gives the sockets in a room.
    pub(crate) fn members(&self, room: &str) -> impl Iterator<Item = &S> {
        self.slots_in(room)
            .filter_map(|slot| self.sockets.get(slot))
    }

    /// Gives the names of all rooms, the sockets' own ones included, each once.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = &str> {
        let in_own = self
            .sockets
            .numbered()
            .filter(|&(slot, _)| self.own.contains(slot));
        let rooms = self
            .rooms
            .numbered()
            .filter(|&(room, _)| !self.name_is_id(room));
        in_own
            .map(|(_, socket)| socket.id().as_str())
            .chain(rooms.map(|(_, room)| &*room.name))
    }

    /// Says whether a socket is in the room of this name.
    pub(crate) fn contains_room(&self, room: &str) -> bool {
        self.find_own(room).is_some() || self.find_room(room).is_some()
    }

    /// Calls `f` with each socket that is in one of `rooms` and in none of `except`, once.
    ///
    /// No `rooms` means all sockets, in order of their slots.
    pub(crate) fn select(
        &self,
        rooms: &[impl AsRef<str>],
        except: &[impl AsRef<str>],
        mut f: impl FnMut(&S),
    ) {
        let mut marks = Marks::new(self.sockets.entries.len());
        for room in except {
            self.slots_in(room.as_ref())
                .for_each(|slot| _ = marks.insert(slot));
        }
        let mut call = |slot| {
            if let Some(socket) = self.sockets.get(slot) {
                f(socket);
            }
        };
        match rooms {
            [] if marks.is_empty() => self.sockets.iter().for_each(f),
            [] => {
                let sockets = self
                    .sockets
                    .numbered()
                    .filter(|&(slot, _)| !marks.contains(slot));
                sockets.for_each(|(_, socket)| f(socket));
            }
            [room] if marks.is_empty() => self.slots_in(room.as_ref()).for_each(call),
            [room] => {
                self.slots_in(room.as_ref())
                    .filter(|&slot| !marks.contains(slot))
                    .for_each(call);
            }
            _ => {
                for room in rooms {
                    for slot in self.slots_in(room.as_ref()) {
                        if marks.insert(slot) {
                            call(slot);
                        }
                    }
                }
            }
        }
    }

    /// The slots of the sockets in a room, each once.
    fn slots_in(&self, room: &str) -> impl Iterator<Item = u32> {
        let members = self
            .find_room(room)
            .and_then(|number| self.rooms.get(number));
        let members = members.map_or(&[][..], |room| &room.members);
        self.find_own(room)
            .into_iter()
            .chain(members.iter().copied())
    }

    fn hash(&self, text: &[u8]) -> u64 {
        self.hasher.hash_one(text)
    }

    fn find_id(&self, id: &[u8]) -> Option<u32> {
        let is_it = |&slot: &u32| {
            self.sockets
                .get(slot)
                .is_some_and(|s| s.id().as_bytes() == id)
        };
        self.ids.find(self.hash(id), is_it).copied()
    }

    /// Finds the socket that is in its own room of this name.
    fn find_own(&self, room: &str) -> Option<u32> {
        self.find_id(room.as_bytes())
            .filter(|&slot| self.own.contains(slot))
    }

    fn find_room(&self, name: &str) -> Option<u32> {
        let is_it = |&room: &u32| self.rooms.get(room).is_some_and(|room| *room.name == *name);
        self.names.find(self.hash(name.as_bytes()), is_it).copied()
    }

    /// Says whether a room is also the own room of a socket.
    fn name_is_id(&self, room: u32) -> bool {
        self.rooms
            .get(room)
            .is_some_and(|room| self.find_own(&room.name).is_some())
    }

    /// Searches the shorter of both lists.
    fn is_member(&self, slot: u32, room: u32) -> bool {
        let memberships = self
            .memberships
            .get(slot as usize)
            .map_or(&[][..], Vec::as_slice);
        let members = self.rooms.get(room).map_or(&[][..], |room| &room.members);
        if members.len() < memberships.len() {
            members.contains(&slot)
        } else {
            memberships.iter().any(|m| m.room == room)
        }
    }

    fn create_room(&mut self, name: &str) -> u32 {
        let hash = self.hash(name.as_bytes());
        let number = self.rooms.insert(Room {
            name: name.into(),
            members: Vec::new(),
        });
        let (rooms, hasher) = (&self.rooms, &self.hasher);
        self.names
            .insert_unique(hash, number, |&room| hash_of_name(rooms, hasher, room));
        number
    }

    fn delete_room(&mut self, number: u32) {
        let Some(room) = self.rooms.remove(number) else {
            return;
        };
        let hash = self.hash(room.name.as_bytes());
        if let Ok(entry) = self.names.find_entry(hash, |&other| other == number) {
            entry.remove();
        }
        let (rooms, hasher) = (&self.rooms, &self.hasher);
        shrink_table(&mut self.names, |&room| hash_of_name(rooms, hasher, room));
    }

    /// Removes a member from its room and says whether it was the last one.
    fn take_from_room(&mut self, membership: Membership) -> bool {
        let Membership {
            room: number,
            position,
        } = membership;
        let Some(room) = self.rooms.get_mut(number) else {
            return false;
        };
        room.members.swap_remove(position as usize);
        shrink(&mut room.members);
        // The last member has moved to the gap.
        if let Some(&moved) = room.members.get(position as usize) {
            let memberships = &mut self.memberships[moved as usize];
            if let Some(its) = memberships.iter_mut().find(|m| m.room == number) {
                its.position = position;
            }
        }
        room.members.is_empty()
    }

    /// Gives back memory after the departure of many sockets.
    fn give_back(&mut self) {
        shrink(&mut self.memberships);
        self.own.truncate(self.sockets.entries.len());
        let (sockets, hasher) = (&self.sockets, &self.hasher);
        shrink_table(&mut self.ids, |&slot| hash_of_id(sockets, hasher, slot));
    }
}

impl<S> fmt::Debug for Rooms<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Rooms");
        debug
            .field("sockets", &self.ids.len())
            .field("rooms", &self.names.len());
        debug.finish_non_exhaustive()
    }
}

/// Values by number. The lowest vacant number is taken first, so that the end falls vacant.
struct Slab<T> {
    /// The last one is not vacant.
    entries: Vec<Option<T>>,
    /// All vacant numbers below the length, and perhaps some that are not below it any more.
    vacant: BinaryHeap<Reverse<u32>>,
}

impl<T> Slab<T> {
    fn new() -> Slab<T> {
        Slab {
            entries: Vec::new(),
            vacant: BinaryHeap::new(),
        }
    }

    fn insert(&mut self, value: T) -> u32 {
        if let Some(Reverse(number)) = self.vacant.pop()
            && let Some(entry) = self.entries.get_mut(number as usize)
        {
            *entry = Some(value);
            return number;
        }
        // All other numbers are behind the end as well, and must not be vacant twice later on.
        self.vacant.clear();
        let number = u32::try_from(self.entries.len()).expect("memory ends before the numbers do");
        self.entries.push(Some(value));
        number
    }

    fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.entries.get_mut(number as usize)?.take()?;
        if number as usize + 1 < self.entries.len() {
            self.vacant.push(Reverse(number));
            return Some(value);
        }
        while self.entries.pop_if(|entry| entry.is_none()).is_some() {}
        if shrink(&mut self.entries) {
            let len = self.entries.len();
            self.vacant
                .retain(|&Reverse(number)| (number as usize) < len);
            self.vacant.shrink_to_fit();
        }
        Some(value)
    }

    fn get(&self, number: u32) -> Option<&T> {
        self.entries.get(number as usize)?.as_ref()
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(number as usize)?.as_mut()
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.entries)
            .filter_map(|(number, entry)| Some((number, entry.as_ref()?)))
    }
}

/// A set of small numbers, one bit each.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Says whether the number was not in the set.
    fn insert(&mut self, number: u32) -> bool {
        let (word, mask) = Bits::place(number);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let was = self.0[word];
        self.0[word] |= mask;
        was & mask == 0
    }

    /// Says whether the number was in the set.
    fn remove(&mut self, number: u32) -> bool {
        let (word, mask) = Bits::place(number);
        let Some(bits) = self.0.get_mut(word) else {
            return false;
        };
        let was = *bits;
        *bits &= !mask;
        was & mask != 0
    }

    fn contains(&self, number: u32) -> bool {
        let (word, mask) = Bits::place(number);
        self.0.get(word).is_some_and(|bits| bits & mask != 0)
    }

    /// Gives back the memory of numbers from `len` on, none of which is in the set.
    fn truncate(&mut self, len: usize) {
        self.0.truncate(len.div_ceil(64));
        shrink(&mut self.0);
    }

    fn place(number: u32) -> (usize, u64) {
        (number as usize / 64, 1 << (number % 64))
    }
}

/// The slots that a selection shall not visit (again).
///
/// Most selections leave out one socket: the sender. So the first few slots are a list, which
/// needs no memory; the bits come after these.
struct Marks {
    few: [u32; Marks::FEW],
    len: usize,
    /// Contains the few as well, once it is not empty.
    bits: Bits,
    slots: usize,
}

impl Marks {
    const FEW: usize = 8;

    fn new(slots: usize) -> Marks {
        Marks {
            few: [0; Marks::FEW],
            len: 0,
            bits: Bits::default(),
            slots,
        }
    }

    /// Says whether the slot was not marked.
    fn insert(&mut self, slot: u32) -> bool {
        if !self.bits.0.is_empty() {
            return self.bits.insert(slot);
        }
        if self.contains(slot) {
            return false;
        }
        if let Some(place) = self.few.get_mut(self.len) {
            *place = slot;
            self.len += 1;
            return true;
        }
        self.bits.0 = vec![0; self.slots.div_ceil(64)];
        self.few.iter().for_each(|&slot| _ = self.bits.insert(slot));
        self.bits.insert(slot)
    }

    fn contains(&self, slot: u32) -> bool {
        if self.bits.0.is_empty() {
            self.few[..self.len].contains(&slot)
        } else {
            self.bits.contains(slot)
        }
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

fn hash_of_id<S: Member>(sockets: &Slab<S>, hasher: &RandomState, slot: u32) -> u64 {
    sockets
        .get(slot)
        .map_or(0, |socket| hasher.hash_one(socket.id().as_bytes()))
}

fn hash_of_name(rooms: &Slab<Room>, hasher: &RandomState, room: u32) -> u64 {
    rooms
        .get(room)
        .map_or(0, |room| hasher.hash_one(room.name.as_bytes()))
}

/// Gives back memory if three quarters of it are unused, and says whether it did.
fn shrink<T>(list: &mut Vec<T>) -> bool {
    let much = list.capacity() > KEPT && list.len() < list.capacity() / 4;
    if much {
        list.shrink_to(list.len() * 2);
    }
    much
}

/// Does for a table what [`shrink`] does for a list.
fn shrink_table(table: &mut HashTable<u32>, hash: impl Fn(&u32) -> u64) {
    if table.capacity() > KEPT && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2, hash);
    }
}

/// The capacity that is not worth giving back.
const KEPT: usize = 64;
